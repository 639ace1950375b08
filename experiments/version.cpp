// The two strings come from the build: see cmake/commit.cmake.
#include "version.hpp"

#include "fovea_commit.hpp"

namespace fovea {

std::string version() { return FOVEA_VERSION; }
std::string commit() { return FOVEA_COMMIT; }

}  // namespace fovea
