// What the network sees of a sample, as pictures for people.
#pragma once

#include <string>
#include <vector>

#include "data/image.hpp"
#include "data/loader.hpp"

namespace fovea {

/// Of one modality: a picture for RGB, else a grey one for each channel.
std::vector<Image> input_pictures(const Image& input, Modality modality);

/// PNG for a small picture, JPEG where that would be long; at most `side` pixels a side, shrunk where it is larger.
std::string picture_bytes(const Image& picture, int side = 256);

}  // namespace fovea
