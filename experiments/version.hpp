// Which program this is.
#pragma once

#include <string>

namespace fovea {

std::string version();  // of the release, "0.1.0"
std::string
commit();  // of the sources it was built from, "-dirty" where they differed; "unknown" without git

}  // namespace fovea
