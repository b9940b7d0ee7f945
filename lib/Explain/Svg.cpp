//===- Svg.cpp - the picture in vectors -----------------------------------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Cells that are alike become rectangles as large as they come, all of one look
// in one path, so that a file stays small whatever the length of the sequence.
//
//===----------------------------------------------------------------------===//

#include "Numbers.h"
#include "Picture.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/Support/FormatVariadic.h"
#include <cmath>
#include <map>

using namespace sparse_attn;
using llvm::formatv;

/// Shades between a look and what is under it.
static constexpr int kShades = 8;

/// About the longer side of a map, alone and beside another one: whole pixels for
/// powers of two.
static constexpr int64_t kMapPixels = 512, kHalfMapPixels = 384, kSmallMapPixels = 256;
/// Bytes of a figure from which on it is drawn with fewer cells.
static constexpr size_t kMostFigureBytes = 160000;
/// Room for labels left of and above a map, and between parts of the page.
static constexpr double kLeft = 54, kAbove = 62, kGap = 18, kMargin = 22;

/// A number with at most two decimals.
static std::string toText(double value) {
  std::string text;
  llvm::raw_string_ostream os(text);
  os << llvm::format("%.2f", value);
  while (text.back() == '0')
    text.pop_back();
  if (text.back() == '.')
    text.pop_back();
  return text;
}

//===----------------------------------------------------------------------===//
// Maps
//===----------------------------------------------------------------------===//

namespace {
/// Joins cells of one shade to rectangles and writes them as the data of a path.
class Rectangles {
public:
  /// A run of cells in `row`; rows come in order.
  void add(int64_t row, int64_t first, int64_t end) {
    auto [open, isNew] = opened.try_emplace({first, end}, Rows{row, row + 1});
    if (isNew)
      return;
    if (open->second.end == row) {
      open->second.end = row + 1;
      return;
    }
    write(open->first, open->second);
    open->second = {row, row + 1};
  }
  std::string finish() {
    for (const auto &[columns, rows] : opened)
      write(columns, rows);
    return std::move(data);
  }

private:
  struct Rows {
    int64_t first, end;
  };
  void write(std::pair<int64_t, int64_t> columns, Rows rows) {
    int64_t width = columns.second - columns.first;
    data += formatv("M{0} {1}h{2}v{3}h-{2}z", columns.first, rows.first, width,
                    rows.end - rows.first);
  }

  std::map<std::pair<int64_t, int64_t>, Rows> opened;
  std::string data;
};
} // namespace

/// The shade of a share of `part` in `whole`; what is there at all shows.
static int getShade(double part, double whole) {
  if (part <= 0)
    return 0;
  int shade = static_cast<int>(std::lround(part / whole * kShades));
  return std::clamp(shade, 1, part < whole ? std::max(1, kShades - 1) : kShades);
}

/// Draws one look: cells with the shade that `shadeOf` tells.
static void drawLayer(const CellMap &cells, llvm::StringRef look,
                      llvm::function_ref<int(Share)> shadeOf, llvm::raw_ostream &os) {
  std::vector<Rectangles> shades(kShades + 1);
  for (int64_t row = 0; row < cells.rows(); ++row)
    for (int64_t column = 0; column < cells.columns();) {
      int shade = shadeOf(cells.share(row, column));
      int64_t end = column + 1;
      while (end < cells.columns() && shadeOf(cells.share(row, end)) == shade)
        ++end;
      if (shade)
        shades[shade].add(row, column, end);
      column = end;
    }
  for (int shade = 1; shade <= kShades; ++shade) {
    std::string data = shades[shade].finish();
    if (data.empty())
      continue;
    os << "<path class=\"" << look << "\"";
    if (shade < kShades)
      os << " fill-opacity=\"" << toText(static_cast<double>(shade) / kShades) << "\"";
    os << " d=\"" << data << "\"/>\n";
  }
}

/// Lines between cells.
static void drawGaps(const Panel &panel, llvm::raw_ostream &os) {
  if (!panel.hasGaps())
    return;
  // Half a pixel off, a line covers whole pixels.
  os << "<path class=\"gap\" shape-rendering=\"auto\" d=\"";
  for (int64_t row = 1; row < panel.cells.rows(); ++row)
    os << "M0 " << toText(row * panel.cellHeight - 0.5) << "h" << toText(panel.width);
  for (int64_t column = 1; column < panel.cells.columns(); ++column)
    os << "M" << toText(column * panel.cellWidth - 0.5) << " 0v" << toText(panel.height);
  os << "\"/>\n";
}

static void drawMap(const Panel &panel, llvm::raw_ostream &os) {
  std::string width = toText(panel.width), height = toText(panel.height);
  // A nested svg cuts the last cells where the sequence ends.
  os << "<svg width=\"" << width << "\" height=\"" << height
     << "\" shape-rendering=\"crispEdges\">\n"
     << "<path class=\"empty\" d=\"M0 0h" << width << "v" << height << "h-" << width
     << "z\"/>\n"
     << "<g transform=\"scale("
     << llvm::format("%.6g %.6g", panel.cellWidth, panel.cellHeight) << ")\">\n";
  // Full cells lie over partial ones: a cell that is both shows the mean.
  drawLayer(
      panel.cells, "partial",
      [](Share share) { return getShade(share.partial, 1 - share.full); }, os);
  drawLayer(panel.cells, "full", [](Share share) { return getShade(share.full, 1); }, os);
  os << "</g>\n";
  drawGaps(panel, os);
  os << "</svg>\n";
}

//===----------------------------------------------------------------------===//
// Axes and legend
//===----------------------------------------------------------------------===//

static void drawText(double x, double y, llvm::StringRef classes, llvm::StringRef text,
                     llvm::raw_ostream &os, llvm::StringRef more = "") {
  os << "<text x=\"" << toText(x) << "\" y=\"" << toText(y) << "\" class=\"" << classes
     << "\"" << more << ">" << escape(text) << "</text>\n";
}

static void drawAxes(const Panel &panel, const AttentionFacts &facts,
                     llvm::raw_ostream &os) {
  std::string marks;
  int64_t step = chooseTickStep(panel.keys, std::max<int64_t>(2, panel.width / 64));
  double perKey = panel.width / panel.keys;
  for (int64_t key = 0; key < panel.keys; key += step) {
    marks += "M" + toText(key * perKey) + " -5v5";
    drawText(key * perKey, -9, "tick", formatPosition(key), os);
  }
  int64_t last = panel.firstPosition + panel.queries;
  step = chooseTickStep(panel.queries, std::max<int64_t>(1, panel.height / 64));
  double perQuery = panel.height / panel.queries;
  // Positions may begin below 0.
  int64_t first = panel.firstPosition + (step - 1);
  first = (first >= 0 ? first / step : -((step - 1 - first) / step)) * step;
  if (first >= last)
    first = panel.firstPosition;
  for (int64_t position = first; position < last; position += step) {
    double y = (position - panel.firstPosition) * perQuery;
    marks += "M-5 " + toText(y) + "h5";
    drawText(-9, y + 4, "tick left", formatPosition(position), os);
  }
  os << "<path class=\"mark\" d=\"" << marks << "\"/>\n";
  const char *keyLabel = facts.keyBlock ? "pooled key →" : "key →";
  drawText(panel.width, -27, "axis", keyLabel, os, " text-anchor=\"end\"");
  drawText(-44, panel.height / 2, "axis", "← query", os,
           formatv(" text-anchor=\"middle\" transform=\"rotate(-90 -44 {0})\"",
                   toText(panel.height / 2))
               .str());
}

/// One entry of the legend; returns where the next one begins. Six and a half
/// pixels are the mean width of a character.
static double drawLegendEntry(double x, double y, llvm::StringRef look,
                              llvm::StringRef name, int64_t count,
                              llvm::raw_ostream &os) {
  os << "<rect class=\"" << look << "\" x=\"" << toText(x) << "\" y=\"" << toText(y - 10)
     << "\" width=\"12\" height=\"12\" rx=\"2\"/>\n";
  std::string number = formatCount(count);
  os << "<text x=\"" << toText(x + 18) << "\" y=\"" << toText(y) << "\" class=\"legend\">"
     << name << " <tspan class=\"number\">" << number << "</tspan></text>\n";
  return x + 18 + 6.6 * (name.size() + 1 + number.size()) + 18;
}

static void drawLegend(const Panel &panel, const PlaneGroup &group, double y,
                       llvm::raw_ostream &os) {
  if (panel.isPairs) {
    double x = drawLegendEntry(0, y, "full", "kept", group.keptPairs, os);
    drawLegendEntry(x, y, "empty", "left out", group.pairs - group.keptPairs, os);
    return;
  }
  double x = drawLegendEntry(0, y, "full", "full", group.full, os);
  x = drawLegendEntry(x, y, "partial", "partial", group.partial, os);
  drawLegendEntry(x, y, "empty", "skipped", group.skipped(), os);
}

static Figure drawPanels(llvm::ArrayRef<Panel> panels, const AttentionFacts &facts,
                         const PlaneGroup &group) {
  Figure figure;
  llvm::raw_string_ostream os(figure.body);
  double x = 0;
  for (const Panel &panel : panels) {
    os << "<g transform=\"translate(" << toText(x + kLeft) << " " << toText(kAbove)
       << ")\">\n";
    drawText(0, -44, "panel", panel.title, os);
    drawAxes(panel, facts, os);
    drawMap(panel, os);
    drawLegend(panel, group, panel.height + 28, os);
    os << "</g>\n";
    // A legend may be wider than its map.
    x += kLeft + std::max(panel.width, panel.isPairs ? 200.0 : 320.0) + kGap;
    figure.height = std::max(figure.height, kAbove + panel.height + 34);
  }
  figure.width = x - kGap;
  return figure;
}

Figure sparse_attn::drawFigure(const AttentionFacts &facts, const PlaneGroup &group) {
  Figure figure;
  for (int64_t cells : {256, 128, 64}) {
    std::vector<Panel> panels = makePanels(facts, group, kHalfMapPixels, cells);
    if (panels.size() == 1)
      panels = makePanels(facts, group, panels[0].isPairs ? kSmallMapPixels : kMapPixels,
                          cells);
    figure = drawPanels(panels, facts, group);
    if (figure.body.size() <= kMostFigureBytes)
      break;
  }
  return figure;
}

std::string sparse_attn::getFigureStyle(bool dark) {
  using namespace colors;
  auto pick = [&](llvm::StringRef light, llvm::StringRef night) {
    return dark ? night : light;
  };
  std::string style = formatv(".page{{fill:{0}}.ink,.panel,.number{{fill:{1}}"
                              ".muted,.tick,.axis,.legend{{fill:{2}}"
                              ".empty{{fill:{3}}.full{{fill:{4}}.partial{{fill:{5}}"
                              ".mark{{stroke:{2}}.gap{{stroke:{0}}",
                              pick(kPage, kDarkPage), pick(kInk, kDarkInk),
                              pick(kMuted, kDarkMuted), pick(kEmpty, kDarkEmpty),
                              pick(kFull, kDarkFull), pick(kPartial, kDarkPartial));
  if (!dark)
    style +=
        "text{font:12px system-ui,-apple-system,'Segoe UI','DejaVu Sans',sans-serif}"
        ".title{font:600 15px ui-monospace,Menlo,Consolas,'DejaVu Sans Mono',monospace}"
        ".panel{font-size:13px;font-weight:600}.number{font-weight:600}"
        ".tick,.axis{font-size:11px}.tick{text-anchor:middle}"
        ".tick.left{text-anchor:end}.mark,.gap{fill:none}";
  return style;
}

//===----------------------------------------------------------------------===//
// The page
//===----------------------------------------------------------------------===//

/// Where the first word of `text` ends. The arguments of a call stay together where
/// they fit a line, and so does what an equals sign joins.
static size_t findWordEnd(llvm::StringRef text, size_t width) {
  size_t afterComma = llvm::StringRef::npos;
  for (size_t end = text.find(' ', 1); end != llvm::StringRef::npos;
       end = text.find(' ', end + 1)) {
    if (text[end - 1] == '=' || text.substr(end + 1).starts_with("="))
      continue;
    if (end > width && afterComma != llvm::StringRef::npos)
      return afterComma;
    if (text[end - 1] != ',')
      return end;
    afterComma = end;
  }
  return text.size() > width ? afterComma : text.size();
}

/// Breaks `text` into lines of at most `width` characters where it can.
static std::vector<std::string> wrap(llvm::StringRef text, size_t width) {
  std::vector<std::string> lines(1);
  while (!text.empty()) {
    llvm::StringRef word = text.take_front(findWordEnd(text, width));
    text = text.drop_front(word.size()).ltrim();
    if (!lines.back().empty() && lines.back().size() + 1 + word.size() > width)
      lines.emplace_back();
    lines.back() += (lines.back().empty() ? "" : " ") + word.str();
  }
  return lines;
}

namespace {
/// Grows downwards.
struct Page {
  std::string body;
  double width = 366, height = kMargin - 6;
};
} // namespace

/// The numbers below a figure.
static std::vector<std::string> getCaption(const Explanation &explanation,
                                           const AttentionFacts &facts) {
  const PlaneGroup &group = facts.picture();
  std::string pairs = formatPairs(facts, group.pairDensity());
  std::string time = facts.mask.binding == Binding::Run ? "decided by this run"
                     : facts.grid.plan_time             ? "known at plan time"
                                                        : "known at compile time";
  if (group.tiles == 1)
    return {pairs, time};
  std::vector<std::string> lines;
  if (group.visited() > 0) {
    double all = static_cast<double>(group.tiles);
    lines.push_back(formatCount(group.visited()) + " of " + formatCount(group.tiles) +
                    " tiles visited (" + formatPercent(group.visited() / all) + "): " +
                    formatFactor(all / group.visited()) + " times less work than dense");
  }
  lines.push_back(pairs);
  lines.push_back("plan of " + formatPlan(explanation) + ": " + time);
  return lines;
}

static void addAttention(const Explanation &explanation, const AttentionFacts &facts,
                         Page &page) {
  Figure figure = drawFigure(facts, facts.picture());
  page.width = std::max(page.width, figure.width + 2 * kMargin);
  llvm::raw_string_ostream os(page.body);
  double left = kMargin + kLeft, room = page.width - left - kMargin;
  double y = page.height;
  for (const std::string &line :
       wrap(facts.expression, static_cast<size_t>(room / 9.1))) {
    y += 18;
    drawText(left, y, "title ink", line, os);
  }
  auto addLines = [&](llvm::StringRef text) {
    for (const std::string &line : wrap(text, static_cast<size_t>(room / 6.7))) {
      y += 17;
      drawText(left, y, "muted", line, os);
    }
  };
  y += 3;
  std::string which = formatShape(explanation, facts);
  if (facts.planes() > 1)
    which += "; " + facts.describe(facts.picture());
  addLines(which);
  y += 20;
  os << "<g transform=\"translate(" << toText(kMargin) << " " << toText(y) << ")\">\n"
     << figure.body << "</g>\n";
  y += figure.height + 6;
  for (const std::string &line : getCaption(explanation, facts))
    addLines(line);
  page.height = y + kMargin;
}

std::string sparse_attn::buildSvg(const Explanation &explanation) {
  Page page;
  for (const AttentionFacts &facts : explanation.attentions)
    addAttention(explanation, facts, page);
  std::string width = toText(std::ceil(page.width));
  std::string height = toText(std::ceil(page.height));
  std::string label = escape("attention mask of kernel " + explanation.kernel);
  std::string text;
  llvm::raw_string_ostream os(text);
  os << "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"" << width << "\" height=\""
     << height << "\" viewBox=\"0 0 " << width << " " << height
     << "\" role=\"img\" aria-label=\"" << label << "\">\n"
     << "<title>" << label << "</title>\n"
     << "<style>" << getFigureStyle(false) << "@media(prefers-color-scheme:dark){"
     << getFigureStyle(true) << "}</style>\n"
     << "<rect class=\"page\" width=\"" << width << "\" height=\"" << height
     << "\" rx=\"8\"/>\n"
     << page.body << "</svg>\n";
  return text;
}
