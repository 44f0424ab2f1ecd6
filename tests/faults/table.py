"""The table of all faults."""

TITLES = ("fault", "rounds", "confirmed", "lost", "twice", "unannounced", "wrong health s", "recovery s", "memory MiB", "note")


def line(outcome):
    note = "; ".join([outcome.note] * bool(outcome.note) + [str(one)[:120] for one in outcome.wrong[:2]])
    return (outcome.name, outcome.rounds, outcome.confirmed, outcome.lost, outcome.twice, outcome.unannounced,
            f"{outcome.wrong_health:.2f}", f"{outcome.recovery:.2f}", outcome.resident_mib, note)


def render(outcomes):
    """Markdown, aligned so that a terminal shows it well too."""
    rows = [TITLES] + [tuple(str(cell) for cell in line(outcome)) for outcome in outcomes]
    widths = [max(len(row[i]) for row in rows) for i in range(len(TITLES))]
    texts = ["| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths)) + " |" for row in rows]
    texts.insert(1, "| " + " | ".join("-" * width for width in widths) + " |")
    return "\n".join(texts)
