// What `fovea cam` leaves: a picture and an array for each map, a list of all, a sheet.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "cam_maps.hpp"

namespace fovea {

/// One map in cam.json and in the table.
std::string cam_json(const std::vector<CamResult>& results, CamMethod method,
                     const std::vector<std::string>& classes, const std::vector<std::string>& files);
std::string cam_table(const std::vector<CamResult>& results);

class CamFolder {
 public:
  /// Makes the folder. UsageError where it holds anything, unless `overwrite`: then the files that an earlier
  /// cam.json lists go first. Error where two ids would be one file.
  CamFolder(std::string path, bool overwrite, const std::vector<std::string>& ids, bool names_modality);

  /// Writes picture and array of a map that is ok; the name without ending ("eye1.M2"), empty for one that is not.
  std::string write(const CamResult& result);
  std::string file(const std::string& name) const { return path_ + "/" + name; }

 private:
  void make(bool overwrite) const;

  std::string path_;
  std::map<std::string, std::string> stems_;  // by id
  bool names_modality_;
};

}  // namespace fovea
