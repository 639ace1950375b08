// HM-VGG (arXiv 2410.24046, Eqs. 1-11, Figs. 1-3): a VGG whose last three blocks pass through attention
// (HAM), are brought to one size, and merged twice by convolutions of several dilations (MLRM).
//
//   SC1 = Conv3(H_mid) + H_last                   M1 = mlrm(SC1)
//   SC2 = Conv3(Conv3(H_low)) + M1                M2 = mlrm(SC2)
//   f   = gap(M2) + Conv1(gap(R5))                logits = FC(f)
//
// H_b = HAM(R_b), R_b the output of VGG block b before its max-pool; low, mid and last are the blocks of
// `taps`, 3, 4, 5 by default. Conv3 is a 3x3 convolution of stride 2 without bias, batch norm and ReLU, and
// goes to the width of the next tap (256 -> 512 -> 512 by default). With other taps f has the width of the
// last one; the shortcut always starts at R5.
//
// Ablations: `ham.variant = none` makes H_b = R_b, `mlrm.rates = none` makes mlrm(x) = x, `shortcut = false` leaves
// Conv1(gap(R5)) out of f; what is left out has no parameters.
//
// Several modalities: `early` stacks their channels at the input of one stream; `late` runs one stream for
// each and concatenates the features f. A sample may lack a modality: late fusion runs a stream over the rows
// that have it and leaves zeros for the others (a stream nobody has does not run), early fusion zeroes the
// channels.
//
// Captured by name (ForwardContext::capture), with the modality, or "early", in front: "fundus.H3",
// "fundus.H4", "fundus.H5" (by block), "fundus.R5", "fundus.M1", "fundus.M2". Late fusion captures the rows
// that have the modality.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "models/zoo.hpp"

namespace fovea {

/// UsageError for options that contradict each other or hm-vgg.md's limits. Not yet initialised.
std::unique_ptr<Model> make_hm_vgg(const ModelConfig& config);

/// Whether an image of this height (or width) gives both sums terms of one size. At least 32.
bool hm_vgg_size_works(const ModelConfig& config, std::int64_t size);

}  // namespace fovea
