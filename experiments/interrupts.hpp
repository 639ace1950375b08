// SIGINT and SIGTERM as a question that a loop asks between its steps.
#pragma once

namespace fovea {

/// From now on the first signal only sets the flag; a second one ends the process as if nothing had been
/// installed.
void catch_interrupts();
bool interrupted();

}  // namespace fovea
