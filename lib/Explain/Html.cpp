//===- Html.cpp - the explanation as one page -----------------------------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The page refers to nothing outside and runs no script: tabs are radio buttons.
//
//===----------------------------------------------------------------------===//

#include "MaskTree.h"
#include "Numbers.h"
#include "Picture.h"
#include <cmath>

using namespace sparse_attn;
using llvm::raw_ostream;
using llvm::raw_string_ostream;

static constexpr llvm::StringLiteral kStyle = R"css(
:root{color-scheme:light dark}
body{margin:0;background:var(--page);color:var(--ink);line-height:1.5;
font-family:system-ui,-apple-system,'Segoe UI','DejaVu Sans',sans-serif;font-size:15px}
main{max-width:960px;margin:0 auto;padding:40px 24px 64px}
h1{font:600 22px/1.4 ui-monospace,Menlo,Consolas,'DejaVu Sans Mono',monospace;margin:0}
h2{font-size:15px;margin:36px 0 12px}
.sub{color:var(--muted);margin:4px 0 0}
.cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(180px,1fr));gap:12px;
margin:28px 0}
.card{background:var(--panel);border-radius:10px;padding:14px 16px}
.card b{display:block;font-size:24px;line-height:1.25;font-variant-numeric:tabular-nums}
.card span{color:var(--muted);font-size:13px}
.tree,.tree ul{list-style:none;margin:0;padding:0}
.tree ul{margin-left:9px;padding-left:17px;border-left:1px solid var(--line)}
.tree li>div{display:flex;gap:12px;align-items:baseline;padding:2px 0}
code{font:13px ui-monospace,Menlo,Consolas,'DejaVu Sans Mono',monospace}
.time{font-size:11px;border-radius:99px;padding:1px 9px;background:var(--panel);
color:var(--muted);white-space:nowrap}
.time.late{background:#f2a33a33;color:var(--ink)}
table{border-collapse:collapse;font-variant-numeric:tabular-nums;width:100%}
th{font-weight:600;font-size:13px;color:var(--muted);text-align:right}
th,td{padding:5px 10px;border-bottom:1px solid var(--line)}
td{text-align:right}th:first-child,td:first-child{text-align:left;padding-left:0}
.tabs>input{position:absolute;opacity:0}
.tabs>label{display:inline-block;padding:5px 13px;margin:0 6px 8px 0;border-radius:99px;
background:var(--panel);color:var(--muted);font-size:13px;cursor:pointer}
.tabs>input:checked+label{background:var(--ink);color:var(--page)}
.tabs>input:focus-visible+label{outline:2px solid #1f6fb4;outline-offset:2px}
.tabs>figure{display:none;margin:0;overflow-x:auto}
figure svg{display:block}
)css";

static void addStyle(raw_ostream &os) {
  using namespace colors;
  auto variables = [&](llvm::StringRef page, llvm::StringRef ink, llvm::StringRef muted,
                       llvm::StringRef panel, llvm::StringRef line) {
    os << ":root{--page:" << page << ";--ink:" << ink << ";--muted:" << muted
       << ";--panel:" << panel << ";--line:" << line << "}";
  };
  os << "<style>" << kStyle;
  variables(kPage, kInk, kMuted, "#f4f6f9", "#e3e7ed");
  os << getFigureStyle(/*dark=*/false) << "\n@media(prefers-color-scheme:dark){";
  variables(kDarkPage, kDarkInk, kDarkMuted, "#1c222a", "#2c343f");
  os << getFigureStyle(/*dark=*/true) << "}</style>\n";
}

static void addCard(llvm::StringRef value, llvm::StringRef meaning, raw_ostream &os) {
  os << "<div class=\"card\"><b>" << escape(value) << "</b><span>" << escape(meaning)
     << "</span></div>\n";
}

static void addCards(const Explanation &explanation, const AttentionFacts &facts,
                     raw_ostream &os) {
  double dense = facts.tiles() * facts.tileFlop();
  double work = facts.visitedTiles() * facts.tileFlop();
  os << "<div class=\"cards\">\n";
  if (work > 0)
    addCard(formatFactor(dense / work) + "×", "less work than a dense kernel", os);
  addCard(formatPercent(facts.tileDensity()),
          formatCount(facts.visitedTiles()) + " of " + formatCount(facts.tiles()) +
              " tiles visited",
          os);
  std::string pairs = formatPairs(facts, facts.pairDensity());
  auto [share, rest] = llvm::StringRef(pairs).split(" of ");
  addCard(share, "of " + rest.str(), os);
  addCard(formatBytes(explanation.planBytes),
          facts.grid.plan_time ? "of plan, known at plan time"
                               : "of plan, no table: known at compile time",
          os);
  os << "</div>\n";
}

static void addTree(const MaskTree &tree, raw_ostream &os) {
  bool late = tree.binding != Binding::Compile;
  os << "<li><div><code>" << escape(tree.label) << "</code><span class=\"time"
     << (late ? " late" : "") << "\">" << getBindingName(tree.binding) << "</span></div>";
  if (!tree.parts.empty()) {
    os << "<ul>";
    for (const MaskTree &part : tree.parts)
      addTree(part, os);
    os << "</ul>";
  }
  os << "</li>\n";
}

/// Figures of the groups that have one, under tabs.
static void addFigures(const AttentionFacts &facts, size_t attention, raw_ostream &os) {
  std::vector<const PlaneGroup *> groups;
  for (const PlaneGroup &group : facts.groups)
    if (group.tileMap)
      groups.push_back(&group);
  std::string prefix = "a" + std::to_string(attention) + "g";
  if (groups.size() > 1) {
    os << "<style>";
    for (size_t i = 0; i < groups.size(); ++i)
      os << (i ? "," : "") << "#" << prefix << i << ":checked~." << prefix << i;
    os << "{display:block}</style>\n";
  }
  os << "<div class=\"tabs\">\n";
  for (size_t i = 0; groups.size() > 1 && i < groups.size(); ++i)
    os << "<input type=\"radio\" name=\"" << prefix << "\" id=\"" << prefix << i << "\""
       << (groups[i] == &facts.picture() ? " checked" : "") << "><label for=\"" << prefix
       << i << "\">" << escape(facts.describe(*groups[i])) << "</label>\n";
  for (size_t i = 0; i < groups.size(); ++i) {
    Figure figure = drawFigure(facts, *groups[i]);
    int64_t width = std::llround(std::ceil(figure.width));
    int64_t height = std::llround(std::ceil(figure.height));
    os << "<figure class=\"" << prefix << i << "\""
       << (groups.size() == 1 ? " style=\"display:block\"" : "") << "><svg width=\""
       << width << "\" height=\"" << height << "\" viewBox=\"0 0 " << width << " "
       << height << "\" role=\"img\" aria-label=\""
       << escape("tiles of " + facts.describe(*groups[i])) << "\">\n"
       << figure.body << "</svg></figure>\n";
  }
  os << "</div>\n";
}

static void addTable(const AttentionFacts &facts, raw_ostream &os) {
  os << "<table><tr><th>heads</th><th>full</th><th>partial</th><th>skipped</th>"
        "<th>tiles visited</th><th>pairs kept</th></tr>\n";
  for (const PlaneGroup &group : facts.groups) {
    double share = group.tiles ? static_cast<double>(group.visited()) / group.tiles : 0;
    os << "<tr><td>" << escape(facts.describe(group)) << "</td>";
    for (int64_t count : {group.full, group.partial, group.skipped()})
      os << "<td>" << formatCount(count) << "</td>";
    os << "<td>" << escape(formatPercent(share)) << "</td><td>"
       << escape(formatPercent(group.pairDensity())) << "</td></tr>\n";
  }
  os << "</table>\n";
}

static void addFact(llvm::StringRef name, llvm::StringRef value, raw_ostream &os) {
  os << "<tr><td>" << escape(name) << "</td><td>" << escape(value) << "</td></tr>\n";
}

static void addAttention(const Explanation &explanation, size_t index, raw_ostream &os) {
  const AttentionFacts &facts = explanation.attentions[index];
  os << "<h1>" << escape(facts.expression) << "</h1>\n<p class=\"sub\">kernel "
     << escape(explanation.kernel);
  if (explanation.attentions.size() > 1)
    os << ", attention " << index + 1 << " of " << explanation.attentions.size();
  if (!facts.halfOf.empty())
    os << ", " << escape(facts.halfOf);
  os << " · " << escape(formatShape(explanation, facts)) << "</p>\n";
  addCards(explanation, facts, os);
  addFigures(facts, index, os);
  os << "<h2>What is known when</h2>\n<ul class=\"tree\">\n";
  addTree(facts.mask, os);
  os << "</ul>\n<h2>Tiles by head</h2>\n";
  addTable(facts, os);
  double work = facts.visitedTiles() * facts.tileFlop();
  os << "<h2>Cost</h2>\n<table>\n";
  addFact("work of a tile", formatTileFlop(facts) + " = " + formatFlop(facts.tileFlop()),
          os);
  addFact("work of all visited tiles", formatFlop(work), os);
  addFact("work of a dense kernel", formatFlop(facts.tiles() * facts.tileFlop()), os);
  addFact("plan", formatPlan(explanation), os);
  addFact("workspace", formatWorkspace(explanation), os);
  if (std::string unions = formatUnions(explanation); !unions.empty())
    addFact("unions", unions, os);
  os << "</table>\n";
}

std::string sparse_attn::buildHtml(const Explanation &explanation) {
  std::string text;
  raw_string_ostream os(text);
  os << "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
        "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n<title>"
     << escape(explanation.kernel) << "</title>\n";
  addStyle(os);
  os << "</head>\n<body><main>\n";
  for (size_t index = 0; index < explanation.attentions.size(); ++index)
    addAttention(explanation, index, os);
  os << "</main></body>\n</html>\n";
  return text;
}
