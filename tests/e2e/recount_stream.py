"""Makes the stream of the recount from a seed: executions and market events with repeats, conflicts and refusals.

Within a queue the order of an asset's messages is kept by broker and service. Between the two queues there is none, so
an asset belongs to one of three groups whose result does not depend on it, and is still strict to the last digit:
  executions only; market data only (sizes, averages, PnL, late and repeated events); and executions with mark prices only
  (a mark price neither moves a size nor an average, and unrealized PnL is a function of the last of each).
"""

import json
import random
from datetime import datetime, timezone
from decimal import Decimal

ASSETS = 500
EXECUTIONS_ONLY = range(0, 200)
MIXED = range(200, 400)
MARKET_ONLY = range(400, 500)
START = 1_700_000_000  # before every execution: no market event ever takes over a size from one
RECENT = 3000
UNIT = Decimal("0.00000001")


def asset_name(number):
    return f"R{number:03d}USDT"


def is_hedge(number):
    return number % 3 == 0


def is_both(number):
    return number % 9 == 1


def text(number):
    return format(number, "f")


class Stream:
    def __init__(self, seed, around_crashes=False):
        self.random = random.Random(seed)
        # A refusal that depends on the state may be decided anew when a crash brings the message again; that is right, and
        # cannot be recounted. Around crashes such messages are left out.
        self.state_dependent_refusals = not around_crashes
        self.serial = 0
        self.prices = {}
        self.orders = {}
        self.recent = {"executions": [], "market": []}
        self.market_clock = {}

    def _next(self):
        self.serial += 1
        return self.serial

    def _price(self, number):
        price = self.prices.get(number) or Decimal(self.random.randint(100, 6_000_000)) / 100
        price = max(Decimal(1), (price * (1 + Decimal(self.random.randint(-100, 100)) / 20000)).quantize(UNIT))
        self.prices[number] = price
        return price

    def _quantity(self):
        digits = self.random.choice((0, 1, 3, 8))
        return max(Decimal("0.001"), Decimal(self.random.randint(1, 20 * 10**digits)) / 10**digits)

    def _modes(self, number):
        return ("one-way", "hedge") if is_both(number) else ("hedge",) if is_hedge(number) else ("one-way",)

    def openings(self):
        """One execution for each position that executions own: after these every position exists, so mark prices find it."""
        for number in (*EXECUTIONS_ONLY, *MIXED):
            for mode in self._modes(number):
                yield "executions", None, self._flat(number, mode, "Buy", None), None

    def _flat(self, number, mode, side, leg):
        serial = self._next()
        event = {"event_type": "order_executed", "execution_id": f"x-{serial}", "order_id": f"o-{serial}", "asset": asset_name(number),
                 "side": side, "execution_quantity": text(self._quantity()), "execution_price": text(self._price(number)),
                 "execution_fees": text(Decimal(self.random.randint(-10**6, 10**8)) * UNIT), "mode": mode,
                 "executed_at": "2025-06-01T12:00:00Z", "trace_id": f"t-{serial}"}
        if leg:
            event["position_side"] = leg
        return event

    def _nested(self, number):
        order = self.orders.get(number)
        if order is None or self.random.random() < 0.25:
            order = {"id": f"n-{self._next()}", "side": self.random.choice(("Buy", "Sell")), "filled": Decimal(0), "value": Decimal(0),
                     "fees": Decimal(0), "average": None}
            self.orders[number] = order
        if order["average"] is None or self.random.random() > 0.1:  # else the same total once more
            quantity = self._quantity()
            order["filled"] += quantity
            order["value"] += quantity * self._price(number)
            order["fees"] += Decimal(self.random.randint(0, 10**7)) * UNIT
            order["average"] = (order["value"] / order["filled"]).quantize(Decimal(10) ** -self.random.choice((8, 14)))
        serial = self._next()
        return {"event_type": self.random.choice(("partially_filled", "filled")), "event_id": f"e-{serial}", "timestamp": "2025-06-01T12:00:00Z",
                "trace_id": f"t-{serial}", "order": {"order_id": order["id"], "asset": asset_name(number), "side": order["side"],
                "filled_quantity": text(order["filled"]), "average_price": text(order["average"]), "fees": text(order["fees"]),
                "executed_at": "2025-06-01T12:00:00Z", "is_dry_run": False}}

    def _planted(self, queue):
        """(body, reason) of a message that has to be refused whatever went before."""
        serial = self._next()
        if queue == "market":
            event = self._market_event(self.random.choice(MARKET_ONLY))
            kind = self.random.choice(("bad_number", "bad_asset", "not_json", "bad_time"))
            event["data"].update({"bad_number": {"markPrice": "1e5"}, "bad_asset": {"symbol": "BTCEUR"}, "bad_time": {"timestamp": "noon"}}.get(kind, {}))
        else:
            event = self._flat(self.random.choice(EXECUTIONS_ONLY), "one-way", "Buy", None)
            kind = self.random.choice(("bad_number", "bad_asset", "bad_side", "not_positive", "out_of_range", "missing_field", "not_json"))
            event.update({"bad_number": {"execution_price": ".5"}, "bad_asset": {"asset": "NOPE"}, "bad_side": {"side": "Both"},
                          "not_positive": {"execution_quantity": "0"}, "out_of_range": {"execution_quantity": "1000000000000"}}.get(kind, {}))
            if kind == "missing_field":
                del event["side"]
        if kind == "not_json":
            return f"{{no json {serial}", kind
        return event, kind

    def execution(self):
        draw = self.random.random()
        recent = self.recent["executions"]
        if draw < 0.04 and recent:
            return self.random.choice(recent)
        if draw < 0.045 and recent:
            _, message_id, event, planted = self.random.choice(recent)
            if planted is None and "execution_id" in event and event["mode"] == "one-way":
                return "executions", message_id, {**event, "execution_quantity": text(Decimal(event["execution_quantity"]) + 1)}, None
        if draw < 0.05:
            body, reason = self._planted("executions")
            return "executions", None, body, reason
        number = self.random.choice((*EXECUTIONS_ONLY, *MIXED))
        mode = self.random.choice(self._modes(number))
        if mode == "one-way" and self.random.random() < 0.3:
            return "executions", None, self._nested(number), None
        side = self.random.choice(("Buy", "Sell", "buy", "SELL"))
        leg = None
        if mode == "hedge" and self.state_dependent_refusals:
            leg = self.random.choice((None, "long", "short", "LONG"))
        event = self._flat(number, mode, side, leg)
        message_id = None
        identity = self.random.random()
        if identity < 0.2:
            event["event_id"] = event.pop("execution_id")
        elif identity < 0.3:
            message_id = event.pop("execution_id")
        elif identity < 0.4:
            del event["execution_id"]  # a digest of the body it is
        return "executions", message_id, event, None

    def _market_event(self, number):
        """All that an exchange says of a position that no execution touches."""
        clock = self.market_clock.get(number, START) + self.random.choice((1, 1, 2, 5))
        if self.random.random() < 0.1:
            at = clock - self.random.randint(10, 500)  # late
        else:
            at = self.market_clock[number] = clock
        price = self._price(number)
        flat = self.random.random() < 0.1 and clock > START + 20
        data = {"symbol": asset_name(number), "markPrice": text(price), "timestamp": iso(at)}
        if is_hedge(number):
            data["positionIdx"] = self.random.choice((1, 2))
            data["side"] = ("", "Buy", "Sell")[data["positionIdx"]]
        else:
            data["side"] = self.random.choice(("Buy", "Sell", "sell"))
            if self.random.random() < 0.5:
                data["realisedPnl"] = text(Decimal(self.random.randint(-10**14, 10**14)) / 10**self.random.choice((8, 10)))
            if not flat and self.random.random() < 0.3:
                data["unrealisedPnl"] = text(Decimal(self.random.randint(-10**12, 10**12)) / 10**9)
        if flat:
            data.update(size="0", avgPrice="0")
        else:
            data.update(size=text(self._quantity()), avgPrice=text(price * Decimal(self.random.randint(9980, 10020)) / 10000))
        return {"event_type": "position", "channel": "position", "trace_id": f"t-{self._next()}", "timestamp": iso(at), "data": data}

    def _mark(self, number):
        at = self.market_clock[number] = self.market_clock.get(number, START) + 1
        mode = self.random.choice(self._modes(number))
        data = {"symbol": asset_name(number), "markPrice": text(self._price(number)), "mode": mode, "timestamp": iso(at)}
        return {"event_type": "position", "channel": "position", "trace_id": f"t-{self._next()}", "timestamp": iso(at), "data": data}

    def market(self):
        draw = self.random.random()
        if draw < 0.01:
            body, reason = self._planted("market")
            return "market", None, body, reason
        if draw < 0.04 and self.recent["market"]:
            return self.random.choice(self.recent["market"])
        number = self.random.choice((*MIXED, *MARKET_ONLY))
        return "market", None, self._market_event(number) if number in MARKET_ONLY else self._mark(number), None

    def remember(self, message):
        recent = self.recent[message[0]]
        if len(recent) < RECENT:
            recent.append(message)
        else:
            recent[self.random.randrange(RECENT)] = message
        return message


def iso(seconds):
    return datetime.fromtimestamp(seconds, timezone.utc).isoformat().replace("+00:00", "Z")


def encode(body):
    return body if isinstance(body, str) else json.dumps(body, separators=(",", ":"))
