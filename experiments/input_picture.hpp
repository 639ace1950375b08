// What the network sees of a sample, as pictures for people.
#pragma once

#include <string>
#include <vector>

#include "data/image.hpp"
#include "data/loader.hpp"

namespace fovea {

/// Of one modality: a picture for RGB, else a grey one for each channel.
std::vector<Image> input_pictures(const Image& input, Modality modality);

/// An RGB picture of a modality's 8-bit image: photographs as they are, of an OCT volume the middle one of its
/// slices.
Image picture_of(const Image& image, Modality modality);

/// At most `side` pixels a side.
Image shrunk(const Image& picture, int side);

/// PNG for a small picture, JPEG where that would be long; shrunk to at most `side` pixels a side.
std::string picture_bytes(const Image& picture, int side = 256);

}  // namespace fovea
