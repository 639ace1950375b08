// A synthetic set of glaucoma eyes: paired fundus photograph, OCT volume and 24-2 visual field, with a known
// cause.
//
// Each eye has a severity t in [0, 1] that decides its grade (0: t in 0..0.2, 1: 0.4..0.6, 2: 0.8..1; eyes in
// between are not drawn). Three signs follow from it, each through its own noisy copy t + N(0, 0.09):
//   fundus  cup-to-disc ratio 0.25 + 0.6 t        OCT  nerve-fibre layer 1 - 0.75 t of its healthy thickness
//   vf      arcuate defect and nasal step, up to 30 dB deep, one half of the field first
// So each sign alone is informative but imperfect, and together they are better: a reader who knew the three
// copies exactly would be right in 96 % of eyes from one of them, 99 % from two and 99.6 % from all three.
// Everything else (pigment, vessels, light, position, tilt, speckle, test-retest noise) says nothing about
// the grade.
//
// All randomness is Philox-4x32-10 (Salmon et al., SC'11), keyed by seed and counted by eye and purpose: a
// set is the same bytes for the same options and build, and an eye's severity does not depend on how many
// pixels were drawn before it.
#pragma once

#include <cstdint>
#include <string>

namespace fovea {

struct SyntheticOptions {
  int count = 120;       // eyes; two of a subject, so an odd count leaves one subject with one eye
  int image_size = 128;  // pixels, fundus photographs and B-scans alike
  std::uint64_t seed = 1;
  double missing =
      0;  // probability that an eye lacks its OCT volume or (each half the time) its visual field
  int oct_slices = 6;
};

/// Writes into `folder` (made where absent):
///   labels.csv                  id,subject,eye,fold,label,fundus,disc_x..disc_height,oct,l1..l54; the box around the
///                               drawn disc; left fields in right-eye order, blind spot empty
///   fundus/<id>.jpg             disc-centred crops
///   oct/<id>/<i>_image.png      B-scans from the upper to the lower retina
///   SYNTHETIC.txt               marks the folder as such a set
/// Grades are balanced over subjects; `fold` has five parts (fewer where there are fewer than 15 subjects),
/// balanced by grade, never parting a subject. UsageError: options out of range. Error: the folder holds
/// anything that is not part of a synthetic set (nothing is touched then), or cannot be written. An earlier
/// synthetic set in it is replaced.
void write_synthetic(const std::string& folder, const SyntheticOptions& options);

}  // namespace fovea
