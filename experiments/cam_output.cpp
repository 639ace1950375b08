// See cam_output.hpp.
#include "cam_output.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <system_error>

#include "eval/table_text.hpp"
#include "kernels/runtime/atomic_file.hpp"
#include "kernels/runtime/error.hpp"

namespace fovea {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

constexpr const char* list_name = "cam.json";

// A file's name has no folder in it, and does not begin with a dot.
std::string stem_of(const std::string& id) {
  std::string stem = id;
  for (char& c : stem)
    if (c == '/' || c == '\\' || static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = '_';
  if (stem.empty() || stem[0] == '.') stem.insert(0, "_");
  return stem;
}

Json energy_json(const std::optional<Energy>& energy) {
  if (!energy) return nullptr;
  return {{"share", energy->share}, {"area", energy->area}};
}

Json or_null(const std::optional<double>& value) { return value ? Json(*value) : Json(nullptr); }

// Maps of an earlier call, as far as they are its own: names of files in the folder.
std::vector<std::string> files_listed(const std::string& path) {
  std::ifstream file(path);
  const Json list = Json::parse(file, nullptr, false);
  std::vector<std::string> names;
  if (!list.is_array()) return names;
  for (const Json& map : list) {
    if (!map.is_object() || !map.contains("file") || !map["file"].is_string()) continue;
    const std::string name = map["file"].get<std::string>();
    if (name.find('/') != name.npos || name.starts_with(".")) continue;
    for (const char* ending : {".png", ".npy"}) names.push_back(name + ending);
  }
  return names;
}

}  // namespace

std::string cam_json(const std::vector<CamResult>& results, CamMethod method,
                     const std::vector<std::string>& classes, const std::vector<std::string>& files) {
  Json list = Json::array();
  for (std::size_t i = 0; i < results.size(); ++i) {
    const CamResult& r = results[i];
    const auto target = static_cast<std::size_t>(r.target);
    Json map{{"id", r.id},
             {"modality", r.modality},
             {"layer", r.layer},
             {"method", name_of(method)},
             {"class", r.target},
             {"class_name", target < classes.size() ? classes[target] : fmt::format("{}", target)},
             {"probability", r.probability},
             {"predicted", r.predicted},
             {"label", r.label < 0 ? Json(nullptr) : Json(r.label)},
             {"status", name_of(r.status)},
             {"message", meaning_of(r.status)},
             {"insertion", or_null(r.insertion)},
             {"deletion", or_null(r.deletion)},
             {"disc", energy_json(r.disc)},
             {"fovea", energy_json(r.fovea)},
             {"file", files[i].empty() ? Json(nullptr) : Json(files[i])}};
    list.push_back(std::move(map));
  }
  return list.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

std::string cam_table(const std::vector<CamResult>& results) {
  const auto any = [&](auto member) {
    return std::ranges::any_of(results, [&](const CamResult& r) { return (r.*member).has_value(); });
  };
  const bool scored = any(&CamResult::insertion), disc = any(&CamResult::disc),
             fovea = any(&CamResult::fovea);
  const auto number = [](const std::optional<double>& v) { return v ? fmt::format("{:.3f}", *v) : "-"; };
  const auto share = [](const std::optional<Energy>& e) {
    return e ? fmt::format("{:.1f} % of {:.1f} %", 100 * e->share, 100 * e->area) : "-";
  };
  TextTable table{
      {{"id", false}, {"modality", false}, {"layer", false}, {"class"}, {"probability"}, {"status", false}},
      {}};
  if (scored) table.header.insert(table.header.end(), {{"insertion"}, {"deletion"}});
  if (disc) table.header.push_back({"in disc of area"});
  if (fovea) table.header.push_back({"at fovea of area"});
  for (const CamResult& r : results) {
    std::vector<std::string>& row = table.rows.emplace_back(
        std::vector<std::string>{r.id, r.modality, r.layer, fmt::format("{}", r.target),
                                 fmt::format("{:.4f}", r.probability), std::string(name_of(r.status))});
    if (scored) row.insert(row.end(), {number(r.insertion), number(r.deletion)});
    if (disc) row.push_back(share(r.disc));
    if (fovea) row.push_back(share(r.fovea));
  }
  return terminal_table(table);
}

CamFolder::CamFolder(std::string path, bool overwrite, const std::vector<std::string>& ids,
                     bool names_modality)
    : path_(std::move(path)), names_modality_(names_modality) {
  while (path_.size() > 1 && path_.back() == '/') path_.pop_back();
  std::map<std::string, std::string> owners;
  for (const std::string& id : ids) {
    const auto [owner, is_new] = owners.emplace(stem_of(id), id);
    if (!is_new && owner->second == id)
      fail(fmt::format("two images have the id '{}', so their maps would be one file; map them in two calls",
                       id));
    if (!is_new)
      fail(fmt::format("the ids '{}' and '{}' would both be the file '{}'; map them in two calls",
                       owner->second, id, owner->first));
    stems_[id] = owner->first;
  }
  make(overwrite);
}

void CamFolder::make(bool overwrite) const {
  std::error_code error;
  fs::create_directories(path_, error);
  if (error) fail(fmt::format("{}: the folder could not be made: {}", path_, error.message()));
  const auto first = fs::directory_iterator(path_, error);
  if (error) fail(fmt::format("{}: the folder could not be read: {}", path_, error.message()));
  if (first == fs::directory_iterator()) return;
  if (!overwrite) {
    fail_usage(
        fmt::format("{} is not empty (it holds '{}'); --output takes an empty or a new folder, or "
                    "--overwrite replaces earlier maps",
                    path_, first->path().filename().string()));
  }
  for (const std::string& name : files_listed(file(list_name))) fs::remove(file(name), error);
}

std::string CamFolder::write(const CamResult& r) {
  if (r.status != CamStatus::ok) return "";
  const std::string name = names_modality_ ? fmt::format("{}.{}.{}", stems_.at(r.id), r.modality, r.layer)
                                           : fmt::format("{}.{}", stems_.at(r.id), r.layer);
  write_png(file(name + ".png"), r.overlay);
  write_file_atomically(file(name + ".npy"), npy_bytes({r.height, r.width, {r.map.begin(), r.map.end()}}));
  return name;
}

}  // namespace fovea
