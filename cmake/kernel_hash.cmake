# Writes the header with the first 16 digits of the SHA-256 of all kernel sources, one after the other in the order of their
# paths' parts; touches the file only on change. Arguments: SOURCE_DIR, OUTPUT.
file(GLOB_RECURSE files RELATIVE ${SOURCE_DIR} ${SOURCE_DIR}/src/simt/*.cu ${SOURCE_DIR}/src/simt/*.cpp
  ${SOURCE_DIR}/src/simt/*.hpp ${SOURCE_DIR}/src/kernels/*.cu ${SOURCE_DIR}/src/kernels/*.cpp ${SOURCE_DIR}/src/kernels/*.hpp)
list(TRANSFORM files REPLACE "/" "\t")  # sorts before all that names hold
list(SORT files)
set(all "")
foreach(file IN LISTS files)
  string(REPLACE "\t" "/" file "${file}")
  file(READ ${SOURCE_DIR}/${file} text)
  string(APPEND all "${text}")
endforeach()
string(SHA256 hash "${all}")
string(SUBSTRING ${hash} 0 16 hash)
file(CONFIGURE OUTPUT ${OUTPUT} @ONLY CONTENT "#pragma once\n#define FOVEA_KERNEL_HASH \"${hash}\"\n")
