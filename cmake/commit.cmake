# Writes the header with the commit that is being built; runs at every build and touches the file only on change.
# Arguments: SOURCE_DIR, OUTPUT, VERSION.
execute_process(COMMAND git describe --always --dirty --abbrev=12 --exclude=*
  WORKING_DIRECTORY ${SOURCE_DIR} OUTPUT_VARIABLE commit OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
if(NOT commit)
  set(commit unknown)
endif()
file(CONFIGURE OUTPUT ${OUTPUT} @ONLY
  CONTENT "#pragma once\n#define FOVEA_VERSION \"${VERSION}\"\n#define FOVEA_COMMIT \"${commit}\"\n")
