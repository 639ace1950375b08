// The style sheet of the report pages. Colours are variables, so that a theme is a block of them. s0 to s7 are the
// hues of series: from Okabe & Ito's, apart for colour-blind readers too, darkened or lightened until lines stand out
// from the page at 3:1 and text at 4.5:1. A series has a dash of its own besides. Print takes the light theme.
#include "eval/html.hpp"

namespace fovea {

const std::string_view page_style = R"(
:root { --page: #fff; --ink: #1f242b; --soft: #59616c; --line: #dfe3e8; --card: #f6f7f9;
  --tint: 0, 114, 178; --mark: #fff4d6; --s0: #0072b2; --s1: #c85a00; --s2: #00805f; --s3: #a1428f;
  --s4: #7a6200; --s5: #c2334d; --s6: #4b5563; --s7: #5b4bc4; color-scheme: light dark; }
@media screen and (prefers-color-scheme: dark) {
  :root { --page: #14171b; --ink: #e6e9ed; --soft: #a3acb7; --line: #333a43; --card: #1d2127;
    --tint: 70, 150, 210; --mark: #3a3320; --s0: #56b4e9; --s1: #f0913a; --s2: #35c39a; --s3: #d9a0d3;
    --s4: #e0c04a; --s5: #f48a9c; --s6: #aab2bd; --s7: #a79cf5; }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink); font: 16px/1.5 system-ui, sans-serif; }
main { max-width: 60rem; margin: 0 auto; padding: 2rem 1rem 4rem; }
h1 { font-size: 1.7rem; line-height: 1.2; letter-spacing: -.01em; margin: 0 0 1rem; overflow-wrap: anywhere; }
h2 { font-size: 1.2rem; line-height: 1.3; margin: 2.6rem 0 .8rem; border-bottom: 1px solid var(--line);
  padding-bottom: .3rem; overflow-wrap: anywhere; }
h3 { font-size: 1rem; margin: 1.2rem 0 .4rem; overflow-wrap: anywhere; }
p { margin: .6rem 0; max-width: 46rem; }
.facts { display: grid; grid-template-columns: fit-content(40%) minmax(0, 1fr); gap: .15rem 1.2rem;
  margin: 0; }
dt { color: var(--soft); }
dt, dd { margin: 0; min-width: 0; overflow-wrap: anywhere; }
.notes { padding-left: 1.1rem; margin: 1rem 0; max-width: 46rem; overflow-wrap: anywhere; }
.notes li { margin: .2rem 0; }
.results .notes { color: var(--soft); font-size: .875rem; }
.note, figcaption, .legend { color: var(--soft); font-size: .875rem; }
.note, figcaption { overflow-wrap: anywhere; }
.wide { overflow-x: auto; margin: .8rem 0; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums lining-nums; font-size: .94rem; }
th, td { padding: .35rem .8rem; border-bottom: 1px solid var(--line); text-align: right;
  white-space: nowrap; }
th:first-child, td:first-child { text-align: left; padding-left: 0; }
th { font-weight: 600; }
thead th { color: var(--soft); vertical-align: bottom; }
.sortable thead th { padding-bottom: .15rem; }
.sortable button { font: inherit; color: inherit; background: none; border: 0; padding: .2rem 0;
  cursor: pointer; text-align: inherit; }
.sortable button:hover { color: var(--ink); }
.sortable button::before, .words button::after { content: "\25be"; content: "\25be" / "";
  display: inline-block; width: 1em; visibility: hidden; }
.sortable .words button::before { display: none; }
thead [aria-sort] { color: var(--ink); }
[aria-sort] button::before, [aria-sort] button::after { visibility: visible; }
[aria-sort=ascending] button::before, [aria-sort=ascending] button::after { content: "\25b4";
  content: "\25b4" / ""; }
.tall thead th { white-space: normal; vertical-align: bottom; }
.tall tbody > tr > * { vertical-align: top; }
td small { display: block; color: var(--soft); font-size: .8125rem; }
.words { text-align: left; }
abbr { text-decoration: none; }
.reference > * { background: var(--mark); }
tbody th { font-weight: 500; }
.wide > table:not(.confusion) th:first-child { position: sticky; left: 0; background: var(--page); }
.wide > table .reference th:first-child { background: var(--mark); padding-left: .3rem; }
.tag { display: inline-block; font-size: .75rem; font-weight: 400; line-height: 1.3; color: var(--soft);
  border: 1px solid var(--line); border-radius: .6rem; padding: 0 .45rem; white-space: nowrap;
  background: var(--page); }
.confusion td { text-align: center; min-width: 4.2rem;
  background: rgba(var(--tint), calc(var(--share) * .55)); border: 2px solid var(--page);
  print-color-adjust: exact; -webkit-print-color-adjust: exact; }
.confusion thead th { text-align: center; }
.confusion thead th:first-child { text-align: left; font-weight: 400; }
.confusion small { color: inherit; font-size: .8rem; }
pre { background: var(--card); border: 1px solid var(--line); border-radius: .4rem; padding: .8rem;
  overflow-x: auto; font: .82rem/1.45 ui-monospace, monospace; }
details { border-bottom: 1px solid var(--line); }
summary { cursor: pointer; padding: .45rem 0; overflow-wrap: anywhere; }
summary h2 { display: inline; border: 0; padding: 0; }
.listing { margin-top: 1.2rem; }
:focus-visible { outline: 2px solid var(--s0); outline-offset: 2px; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 19rem), 1fr));
  gap: 1.2rem 2rem; align-items: start; }
.small svg { max-width: 17rem; }
.charts.small { align-items: end; grid-template-columns: repeat(auto-fill, minmax(min(100%, 13rem), 1fr)); }
.charts > * { min-width: 0; }
.charts h3 { margin: 0 0 .3rem; font-size: .95rem; }
figure { margin: 0; }
figure img { display: block; max-width: 100%; height: auto; }
svg { display: block; width: 100%; height: auto; max-width: 30rem; font-variant-numeric: tabular-nums;
  overflow: visible; }
svg text { fill: var(--soft); font-size: 11px; }
svg .name { fill: var(--ink); font-size: 12px; }
.grid { stroke: var(--line); }
.axis { stroke: var(--soft); fill: none; }
.guide { stroke: var(--soft); stroke-dasharray: 2 3; fill: none; }
.line { fill: none; stroke-width: 2; stroke-linejoin: round; stroke-linecap: round; }
.faint { stroke-width: 1.2; opacity: .55; }
.s0 { stroke: var(--s0); }
.s1 { stroke: var(--s1); }
.s2 { stroke: var(--s2); }
.s3 { stroke: var(--s3); }
.s4 { stroke: var(--s4); }
.s5 { stroke: var(--s5); }
.s6 { stroke: var(--s6); }
.s7 { stroke: var(--s7); }
.line.s1 { stroke-dasharray: 7 4; }
.line.s2 { stroke-dasharray: 1 4; }
.line.s3 { stroke-dasharray: 9 3 1 3; }
.line.s4 { stroke-dasharray: 4 3; }
.line.s5 { stroke-dasharray: 12 4; }
.line.s6 { stroke-dasharray: 2 3 6 3; }
.line.s7 { stroke-dasharray: 9 3 1 3 1 3; }
.dot { stroke-width: 1.3; fill: var(--page); }
.bar { fill: rgba(var(--tint), .28); stroke: var(--s0); }
.whisker { stroke: var(--ink); stroke-width: 1.4; fill: none; }
.mean { fill: var(--ink); }
.legend { list-style: none; display: flex; flex-wrap: wrap; gap: .15rem 1.1rem; padding: 0;
  margin: .3rem 0 .8rem; }
.legend li { display: flex; align-items: center; gap: .45rem; min-width: 0; overflow-wrap: anywhere; }
.legend svg { width: 28px; height: 12px; flex: none; }
.cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 12.5rem), 1fr));
  gap: 1rem; }
.card { background: var(--card); border: 1px solid var(--line); border-radius: .5rem; padding: .8rem;
  break-inside: avoid; min-width: 0; }
.card h3 { margin: 0 0 .4rem; }
.card p { margin: .1rem 0; overflow-wrap: anywhere; }
.pictures { display: flex; flex-wrap: wrap; gap: .5rem; margin-bottom: .5rem; }
.pictures figure { flex: 1 1 6rem; max-width: 12rem; }
.pictures figure:not(:only-child) { max-width: calc(50% - .25rem); }
.pictures img { width: 100%; }
.card figcaption { font-size: .8rem; }
.shares { display: grid; grid-template-columns: minmax(0, 1fr) max-content; gap: 0 .6rem; margin: .5rem 0 0;
  font-size: .875rem; font-variant-numeric: tabular-nums; }
.shares > * { overflow-wrap: anywhere; min-width: 0; }
.shares i { grid-column: 1 / -1; height: .4rem; margin-bottom: .35rem; border-radius: .15rem;
  width: calc(var(--share) * 100%); min-width: 1px; background: var(--s0); print-color-adjust: exact;
  -webkit-print-color-adjust: exact; }
@media screen and (min-width: 64rem) {
  .full { width: min(100vw - 4rem, 84rem); margin-left: calc(50% - min(50vw - 2rem, 42rem)); }
}
@media (max-width: 32rem) {
  tbody th:first-child { min-width: 6.2rem; max-width: 7.5rem; white-space: normal;
    overflow-wrap: break-word; }
  main { padding-top: 1.2rem; }
  table { font-size: .8125rem; }
  th, td { padding: .3rem .28rem; }
  th:last-child, td:last-child { padding-right: 0; }
  .confusion td { min-width: 3.4rem; }
}
@page results { size: A4 landscape; }
@media print {
  body { font-size: 10.5pt; }
  main { max-width: none; padding: 0; }
  h2, h3 { break-after: avoid; }
  figure, tr, .card { break-inside: avoid; }
  pre { white-space: pre-wrap; overflow-wrap: anywhere; }
  .wide { overflow: visible; }
  .tall { font-size: 7pt; }
  .tall small, .tag { font-size: 6pt; }
  .tall th, .tall td { white-space: normal; padding: .15rem .2rem; }
  .results { page: results; }
  .sortable button { padding: 0; }
  .sortable button::before, .sortable button::after { display: none; }
  details::details-content { content-visibility: visible; block-size: auto; }
}
)";

}  // namespace fovea
