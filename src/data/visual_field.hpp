// Visual fields: thresholds of static perimetry in dB, from columns of a manifest to a picture.
//
// Two grids, told apart by the number of points: the Humphrey 24-2 (54 points, or 52 where the two at the
// blind spot are left out) and the Octopus G1 (61). Order of points: 24-2 in reading order, superior row
// first, as visualFields, UWHVF and LEI-SFD number them; G1 as GRAPE numbers it (from the centre outward).
// Coordinates in degrees of visual angle: x to the right as the patient sees it, y up (superior field). Seen
// by a right eye the blind spot lies temporal: +15 in 24-2.
//
// Everything is in right-eye orientation (nasal field at negative x). So are the files in use: in the 24-2
// data of visualFields (Halifax, SUNY), UWHVF, LEI-SFD and the G1 data of GRAPE the low or absent values lie
// at the points of a right eye's blind spot for left eyes too.
#pragma once

#include <string>
#include <vector>

#include "data/image.hpp"

namespace fovea {

inline constexpr int points_24_2 = 54;
inline constexpr int points_g1 = 61;

/// Columns of a field in grid order: `l1..l54`, `s1..s54`, `vf.1..vf.54` or `vf1..vf54` (24-2), the same
/// with 1..52 (24-2 without the blind spot), or `vf0..vf60` (G1). Empty: the header has none; fewer than 30
/// columns of such a name are not taken for a field. Error: a run with columns missing (`l1..l40`) or named
/// twice, or two fields in one header.
std::vector<int> find_field_columns(const std::vector<std::string>& header);

/// Thresholds in dB in grid order as a right eye: 54 values (52 cells are spread, NaN at the blind spot)
/// or 61. NaN where nothing was measured: the blind spot (whatever the cell says), an empty cell, `NA` or
/// `nan`. `<0` (not seen at the brightest) reads -1. In G1 -1 is the blind spot and, at every other point, a
/// light not seen: it stays -1. All cells empty: an empty vector, the sample has no field. left_eye: a 24-2
/// field of a left eye is taken as stored in right-eye order, unless the cells of a left eye's blind spot in
/// reading order (20 and 29 of 54) are empty and those of a right eye's (26 and 35) are not: then each row is
/// reversed. Error: 52, 54 or 61 cells are expected; a cell that is no number or outside [-10, 60] dB (named
/// with its place); fewer than half of the points measured. The caller adds file and row.
std::vector<float> parse_field(const std::vector<std::string>& cells, bool left_eye);

/// A grey picture (height x width x 1) of the central 30 degrees: x and y from -30 to 30, superior field at
/// the top, right-eye orientation. 0..40 dB map to 0..255 (clamped; below 0 dB is 0). Between the points, at
/// the blind spot and where nothing was measured: Shepard's inverse-distance weighting of the measured
/// points. Weights are kept per grid and size; safe to call from several threads. Error: another number of
/// points than 52, 54, 61; nothing measured; sizes below 1.
Image render_field(const std::vector<float>& field, int height, int width);

}  // namespace fovea
