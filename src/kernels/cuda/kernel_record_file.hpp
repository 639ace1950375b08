// The file of a KernelRecord: JSON, written by kernel_bench --record, beside the plans of the same device.
#pragma once

#include <string>

#include "kernels/runtime/kernel_record.hpp"

namespace fovea {

/// PLAN_FOLDER/kernels-DEVICE.json
std::string kernel_record_path(const std::string& device);

/// Throws Error with one sentence where the file is damaged, too large, holds a key or a problem twice, or is of another
/// format or device. A file that is not there is an empty record.
KernelRecord read_kernel_record(const std::string& path, const std::string& device);
/// Puts the record's rows into the file, in place of those of the same problems; all others stay. One writer at a time.
void add_to_kernel_record(const std::string& path, const KernelRecord& record);

/// Makes that of the device the process's, if there is one; `complaint` gets the sentence where it cannot be used.
void load_kernel_record(const std::string& device, std::string& complaint);

}  // namespace fovea
