// What this machine is called, and where files about it are kept: ceilings, plans of libraries, records of kernels.
#pragma once

#include <string>
#include <string_view>

namespace fovea {

/// The processor's name, as Linux tells it in /proc/cpuinfo; "unknown processor" where it does not.
std::string processor_name();

/// FOVEA_CACHE, or XDG_CACHE_HOME/fovea, or HOME/.cache/fovea; empty where none of them is set.
std::string cache_folder();

/// The variable's value; empty where it is not set.
std::string environment(const char* name);

/// Letters, digits and dots of a name, the rest as single dashes: "NVIDIA H200" is "NVIDIA-H200".
std::string file_name_of(std::string_view text);

}  // namespace fovea
