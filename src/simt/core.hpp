// core.hpp: the language of kernels in this world. Kernels include simt.hpp, which includes this.
#pragma once

#include "simt/world.hpp"

#if defined(SIMT_DEVICE)
#include "simt/device/core.hpp"
#include "simt/device/launch.hpp"
#else
#include "simt/host/core.hpp"
#include "simt/host/launch.hpp"
#endif
