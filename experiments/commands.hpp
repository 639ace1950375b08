// The commands of the program, one file each. They get what follows their name and return the exit code;
// errors are thrown.
#pragma once

#include <string>
#include <vector>

namespace fovea {

using Arguments = std::vector<std::string>;

int command_train(const Arguments& arguments);
int command_evaluate(const Arguments& arguments);
int command_predict(const Arguments& arguments);
int command_cam(const Arguments& arguments);
int command_compare(const Arguments& arguments);
int command_data(const Arguments& arguments);
int command_export(const Arguments& arguments);
int command_probe(const Arguments& arguments);
int command_gradcheck(const Arguments& arguments);
int command_kernels(const Arguments& arguments);
int command_profile(const Arguments& arguments);
int command_peaks(const Arguments& arguments);
int command_bench(const Arguments& arguments);
int command_plan(const Arguments& arguments);

inline constexpr int exit_done = 0, exit_failed = 1, exit_usage = 2, exit_interrupted = 130;

}  // namespace fovea
