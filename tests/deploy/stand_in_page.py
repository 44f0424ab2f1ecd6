"""Draws a Grafana dashboard as one static page of SVG: its own panels, places, queries, units and thresholds.

A likeness for where no Grafana can be had: it knows the kinds of panels that deploy/grafana/dashboards uses, and nothing of
zooming, hovering or refreshing.
"""

import html
import math
import time

from observed import filled_in

ROW, GAP, TITLE = 30, 8, 26
COLOURS = ["#73bf69", "#f2cc0c", "#5794f2", "#ff9830", "#f2495c", "#b877d9", "#8ab8ff", "#96d98d", "#ffee52", "#ffb357", "#ff7383", "#ca95e5", "#37872d", "#e0b400",
           "#1f60c4", "#fa6400"]
NAMED = {"green": "#73bf69", "red": "#f2495c", "orange": "#ff9830"}
STYLE = ("text{font-family:'DejaVu Sans',sans-serif;font-size:11px;fill:#ccccdc}.title{font-size:13px;font-weight:bold}.dim{fill:#8e8e99}"
         ".row{font-size:15px}.axis{stroke:#2c2d33;stroke-width:1}.box{fill:#181b1f;stroke:#25262b}")


def short(value, units=("", "K", "M", "G", "T"), base=1000):
    size = 0
    while abs(value) >= base and size < len(units) - 1:
        value, size = value / base, size + 1
    digits = 0 if value == int(value) else 2 if abs(value) < 10 else 1
    return f"{value:.{digits}f}{units[size]}"


def seconds(value):
    for factor, unit in ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"), (1e-3, "ms"), (1e-6, "µs")):
        if abs(value) >= factor:
            return short(value / factor) + " " + unit
    return "0 s"


def shown(value, unit):
    if value is None or value != value:
        return "–"
    if unit == "s":
        return seconds(value)
    if unit == "percentunit":
        return f"{value * 100:.1f} %"
    if unit == "bytes":
        return short(value, ("B", "KiB", "MiB", "GiB"), 1024)
    if unit == "currencyUSD":
        return ("-$" if value < 0 else "$") + short(abs(value))
    return short(value) + {"ops": "/s", "reqps": " req/s"}.get(unit, "")


def text(x, y, words, kind="", anchor="start", extra=""):
    return f'<text x="{x:.0f}" y="{y:.0f}" class="{kind}" text-anchor="{anchor}" {extra}>{html.escape(str(words))}</text>'


def legend_of(target, labels):
    words = target["legendFormat"]
    for key, value in labels.items():
        words = words.replace("{{" + key + "}}", value)
    return words


def colour_of(panel, value):
    colour = "green"
    for step in panel["fieldConfig"]["defaults"].get("thresholds", {}).get("steps", []):
        if step["value"] is None or value >= step["value"]:
            colour = step["color"]
    for mapping in panel["fieldConfig"]["defaults"].get("mappings", []):
        colour = mapping["options"].get(f"{value:g}", {}).get("color", colour)
    return NAMED[colour]


def mapped(panel, value):
    for mapping in panel["fieldConfig"]["defaults"].get("mappings", []):
        if f"{value:g}" in mapping["options"]:
            return mapping["options"][f"{value:g}"]["text"]
    return shown(value, panel["fieldConfig"]["defaults"]["unit"])


def instant(panel, prometheus):
    """[(target, labels, value)]"""
    return [(target, labels, value) for target in panel["targets"] for labels, value in prometheus.query(filled_in(target["expr"]))]


def over_time(panel, prometheus, span):
    step = max(5, int(span / 240))
    return [(legend_of(target, labels), points) for target in panel["targets"] for labels, points in prometheus.query_range(filled_in(target["expr"]), span, step)]


def nice_ticks(low, high, count=4):
    if high <= low:
        high = low + 1
    raw = (high - low) / count
    step = 10 ** math.floor(math.log10(raw))
    step *= next(factor for factor in (1, 2, 5, 10) if raw <= factor * step)
    first = math.floor(low / step) * step
    return [first + step * i for i in range(int(math.ceil((high - first) / step)) + 1)]


def draw_stat(panel, prometheus, x, y, w, h, _span):
    found = instant(panel, prometheus)
    out = []
    for i, (target, labels, value) in enumerate(found):
        middle = x + w * (i + 0.5) / len(found)
        words = legend_of(target, labels)
        if panel["options"].get("textMode") == "name":
            out.append(text(middle, y + h / 2 + 6, words, "", "middle", f'style="font-size:14px;fill:{NAMED["green"]}"'))
            continue
        size = 26 if len(found) == 1 else 22
        out.append(text(middle, y + h / 2 + 8, mapped(panel, value), "", "middle", f'style="font-size:{size}px;fill:{colour_of(panel, value)}"'))
        out.append(text(middle, y + h - 8, words, "dim", "middle"))
    return out


def draw_gauge(panel, prometheus, x, y, w, h, _span):
    value = instant(panel, prometheus)[0][2]
    highest = panel["fieldConfig"]["defaults"].get("max", 1)
    width = (w - 40) * min(1, value / highest)
    colour = colour_of(panel, value)
    return [f'<rect x="{x + 20:.0f}" y="{y + h - 30:.0f}" width="{w - 40:.0f}" height="14" fill="#2c2d33"/>',
            f'<rect x="{x + 20:.0f}" y="{y + h - 30:.0f}" width="{width:.0f}" height="14" fill="{colour}"/>',
            text(x + w / 2, y + h / 2, shown(value, "percentunit"), "", "middle", f'style="font-size:26px;fill:{colour}"')]


def draw_bars(panel, prometheus, x, y, w, h, _span):
    unit = panel["fieldConfig"]["defaults"]["unit"]
    found = [(legend_of(target, labels), labels, value) for target, labels, value in instant(panel, prometheus)]
    if any("le" in labels for _, labels, _ in found):
        # Cumulative counts become those of each class.
        found.sort(key=lambda one: float(one[1]["le"]))
        bounds = "s" if "seconds" in panel["targets"][0]["expr"] else "currencyUSD"
        counts = [one[2] for one in found]
        found = [("above" if one[1]["le"] == "+Inf" else "≤ " + shown(float(one[1]["le"]), bounds), one[1], count - (counts[i - 1] if i else 0))
                 for i, (one, count) in enumerate(zip(found, counts))]
    found = found[:12]
    most = max((abs(value) for _, _, value in found), default=1) or 1
    step, out = min(26, h / max(1, len(found))), []
    for i, (words, _, value) in enumerate(found):
        top = y + i * step
        out += [text(x + 90, top + step / 2 + 4, words, "dim", "end"),
                f'<rect x="{x + 98:.0f}" y="{top + 2:.0f}" width="{w - 180:.0f}" height="{step - 5:.0f}" fill="#22252b"/>',
                f'<rect x="{x + 98:.0f}" y="{top + 2:.0f}" width="{(w - 180) * abs(value) / most:.0f}" height="{step - 5:.0f}" fill="{colour_of(panel, value)}"/>',
                text(x + w - 8, top + step / 2 + 4, shown(value, unit), "", "end")]
    return out


def draw_table(panel, prometheus, x, y, w, h, _span):
    names = panel["transformations"][1]["options"]["renameByName"]
    units = {rule["matcher"]["options"]: rule["properties"][0]["value"] for rule in panel["fieldConfig"]["overrides"]}
    rows = {}
    for target, labels, value in instant(panel, prometheus):
        rows.setdefault((labels["asset"], labels["mode"]), {})[names[f"Value #{target['refId']}"]] = value
    columns = ["Asset", "Mode"] + [name for key, name in names.items() if key.startswith("Value")]
    width, out = w / len(columns), []
    for i, column in enumerate(columns):
        out.append(text(x + 10 + i * width, y + 14, column, "title"))
    for number, (key, values) in enumerate(sorted(rows.items())[: int(h / 24) - 1]):
        top = y + 38 + number * 24
        cells = [*key] + [shown(values.get(column), units.get(column, "short")) for column in columns[2:]]
        out += [text(x + 10 + i * width, top, cell) for i, cell in enumerate(cells)]
    return out


def draw_heat(panel, prometheus, x, y, w, h, span):
    found = [(float(words), points) for words, points in over_time(panel, prometheus, span)]
    found.sort(key=lambda one: one[0])
    cells, before = {}, {}
    for row, (_, points) in enumerate(found):
        for at, value in points:
            cells[row, at] = value - before.get(at, 0)
            before[at] = value
    used = [row for row in range(len(found)) if any(value > 1e-9 for (one, _), value in cells.items() if one == row)]
    most, now = max(cells.values(), default=1) or 1, time.time()
    rows, wide = range(min(used, default=0), max(used, default=0) + 1), (w - 80) * max(5, int(span / 240)) / span
    tall, out = (h - 24) / max(1, len(rows)), []
    for (row, at), value in cells.items():
        if row in rows and value > 1e-9:
            left, top = x + 70 + (w - 80) * (1 - (now - at) / span), y + h - 24 - (row - rows[0] + 1) * tall
            width = min(max(2, wide), x + w - 10 - left)
            out.append(f'<rect x="{left:.1f}" y="{top:.1f}" width="{max(0, width):.1f}" height="{tall - 1:.1f}" fill="#5794f2" fill-opacity="{0.12 + 0.88 * value / most:.2f}"/>')
    for row in rows:
        bound = found[row][0] if found else math.inf
        out.append(text(x + 64, y + h - 24 - (row - rows[0] + 0.5) * tall + 4, "above" if math.isinf(bound) else "≤ " + seconds(bound), "dim", "end"))
    return out + time_axis(x + 70, y + h - 8, w - 80, span)


def time_axis(x, y, w, span):
    now, out = time.time(), []
    for i in range(5):
        at = now - span * (1 - i / 4)
        out.append(text(x + w * i / 4, y, time.strftime("%H:%M", time.gmtime(at)), "dim", "middle" if 0 < i < 4 else "start" if i == 0 else "end"))
    return out


def stacked(series):
    below, result = {}, []
    for words, points in series:
        points = [(at, below.get(at, 0) + value) for at, value in points]
        below.update(points)
        result.append((words, points))
    return result


def draw_lines(panel, prometheus, x, y, w, h, span):
    defaults = panel["fieldConfig"]["defaults"]
    unit, custom = defaults["unit"], defaults["custom"]
    series = [(words, [(at, value) for at, value in points if value == value]) for words, points in over_time(panel, prometheus, span)]
    series = stacked(series) if custom["stacking"]["mode"] == "normal" else series
    logarithmic = custom.get("scaleDistribution", {}).get("type") == "symlog"
    scale = (lambda value: math.copysign(math.log10(1 + abs(value)), value)) if logarithmic else float
    values = [value for _, points in series for _, value in points] or [0]
    ticks = [0, *(10**i for i in range(int(math.log10(max(values) + 1)) + 2))] if logarithmic else nice_ticks(min(0, *values) if min(values) >= 0 else min(values), max(values))
    low, high = scale(ticks[0]), scale(ticks[-1])
    lines = legend_lines(series, w - 20)
    left, right, top, bottom = x + 70, x + w - 14, y + 6, y + h - 22 - 16 * len(lines)
    now, out = time.time(), []

    def place(at, value):
        return left + (right - left) * (1 - (now - at) / span), bottom - (bottom - top) * (scale(value) - low) / (high - low)
    for tick in ticks:
        level = place(now, tick)[1]
        out += [f'<line class="axis" x1="{left:.0f}" x2="{right:.0f}" y1="{level:.0f}" y2="{level:.0f}"/>', text(left - 6, level + 4, shown(tick, unit), "dim", "end")]
    for i, (_, points) in enumerate(series):
        path = " ".join(f"{a:.1f},{b:.1f}" for a, b in (place(at, value) for at, value in points))
        out.append(f'<polyline points="{path}" fill="none" stroke="{COLOURS[i % len(COLOURS)]}" stroke-width="1.4"/>')
    out += time_axis(left, bottom + 14, right - left, span)
    for number, line in enumerate(lines):
        for offset, i, words in line:
            level = bottom + 32 + 16 * number
            out += [f'<rect x="{x + 12 + offset:.0f}" y="{level - 6:.0f}" width="12" height="3" fill="{COLOURS[i % len(COLOURS)]}"/>', text(x + 28 + offset, level, words)]
    return out


def legend_lines(series, width):
    """Which names stand in which line of the legend, at most three lines."""
    lines, offset = [[]], 0
    for i, (words, _) in enumerate(series):
        needed = 30 + 6.8 * len(words)
        if offset + needed > width and lines[-1]:
            lines.append([])
            offset = 0
        lines[-1].append((offset, i, words))
        offset += needed
    return lines[:3]


DRAW = {"stat": draw_stat, "gauge": draw_gauge, "bargauge": draw_bars, "table": draw_table, "heatmap": draw_heat, "timeseries": draw_lines}


def page_of(dashboard, prometheus, width, span):
    """The page, and how high it is. span: how many seconds back."""
    column, head = (width - GAP) / 24, 44
    out, height = [text(GAP * 2, 30, f"{dashboard['title']} – drawn from the dashboard's queries by a stand-in for Grafana", "row")], 0
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        x, y = GAP + place["x"] * column, head + place["y"] * (ROW + GAP) * 0.8
        w, h = place["w"] * column - GAP, place["h"] * (ROW + GAP) * 0.8 - GAP
        height = max(height, y + h)
        if panel["type"] == "row":
            out.append(text(x + 4, y + 18, panel["title"], "row"))
            continue
        out.append(f'<rect class="box" x="{x:.0f}" y="{y:.0f}" width="{w:.0f}" height="{h:.0f}" rx="3"/>')
        out.append(text(x + 10, y + 18, panel["title"], "title"))
        out += DRAW[panel["type"]](panel, prometheus, x, y + TITLE, w, h - TITLE, span)
    height = int(height) + GAP
    body = "".join(out)
    return (f'<!DOCTYPE html><meta charset="utf-8"><body style="margin:0;background:#111217"><svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}">'
            f"<style>{STYLE}</style>{body}</svg></body>\n"), height
