"""Random histories against the rules written once more (model.py), every figure of every position compared, every refusal too.

Unlike the recount (test_recount.py) an asset gets executions of both shapes and market data that may take over its size, numbers
of every magnitude in every spelling, and what does not fit. Between the two queues there is no order, so a round sends an
asset's messages to one of them, and the next round begins when all is settled. PM_MODEL_SEED is another seed, or fresh.
"""

import os
import random
from collections import Counter
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from fractions import Fraction

import model
import pika
import pytest
from world import DEAD_LETTER_QUEUE, MARKET_QUEUE, ORDER_QUEUE, seed_of_run

ASSETS = int(os.environ.get("PM_MODEL_ASSETS", "100"))
ROUNDS = int(os.environ.get("PM_MODEL_ROUNDS", "10"))
START_MS = 1_767_225_600_000
ARRIVAL = 10**15  # later than every time that is said
# (digits before the point, digits behind it) of quantities and prices
MAGNITUDES = [((0, 8), (0, 8)), ((1, 3), (5, 2)), ((2, 8), (4, 8)), ((6, 2), (0, 8)), ((0, 8), (7, 4)), ((6, 8), (6, 8)),
              ((12, 8), (2, 2)), ((3, 0), (12, 8)), ((11, 8), (11, 8))]


def members(**texts):
    """A JSON object of members whose values are JSON texts already; None leaves one out."""
    return "{" + ",".join(f'"{key}":{value}' for key, value in texts.items() if value is not None) + "}"


def quoted(text):
    return f'"{text}"'


class History:
    """What one asset is told, in one or both modes."""

    def __init__(self, draw, book, asset):
        self.draw, self.book, self.asset = draw, book, asset
        self.magnitude = draw.choice(MAGNITUDES)
        self.modes = draw.choice((("one-way",), ("one-way",), ("hedge",), ("one-way", "hedge")))
        self.clock = START_MS
        self.serial = 0
        self.prices = {}
        self.sent = []  # what may be sent once more: (queue, body, message id, how the model takes it)
        self.named = {mode: [] for mode in self.modes}  # (members, message id, identity) of executions
        self.cumulative = {}  # order: [mode, side, leg members, filled, average, fees]

    # ---- values and their spellings ----

    def chance(self, probability):
        return self.draw.random() < probability

    def _figure(self, digits):
        whole, behind = digits
        top = 10 ** (self.draw.randint(0, whole) + self.draw.randint(0, behind))
        return Fraction(max(1, self.draw.randrange(top + 1)), 10**self.draw.choice((behind, behind, 0) if whole else (behind,)))

    def quantity(self):
        return min(self._figure(self.magnitude[0]), Fraction(model.LIMIT, model.UNITS))

    def price(self, mode):
        """Near the last one, as prices are, or another altogether."""
        last = self.prices.get(mode)
        if last is None or self.chance(0.1):
            last = self._figure(self.magnitude[1])
        price = model.rounded(last * (1 + Fraction(self.draw.randint(-200, 200), 100_000)))
        self.prices[mode] = min(max(price, Fraction(1, model.UNITS)), Fraction(model.LIMIT, model.UNITS))
        return self.prices[mode]

    def fees(self):
        return Fraction(self.draw.randint(-10**6, 10**7), self.draw.choice((10**4, 10**8)))

    def number(self, value, digits=8):
        """A JSON text of a figure: a string or a number, with zeros behind it or without."""
        text = f"{Decimal(int(value * 10**digits)).scaleb(-digits):f}"
        if "." in text and self.chance(0.7):
            text = text.rstrip("0").rstrip(".")
        elif self.chance(0.2):
            text += "0" * self.draw.randint(1, 8) if "." in text else ".000"
        return text if self.chance(0.3) else quoted(text)

    def rounded_number(self, value):
        """(text, figure) of an average or a valuation, of which exchanges send more than eight digits."""
        if self.chance(0.6):
            return self.number(value), value
        longer = Fraction(int(value * 10**14) + self.draw.choice((0, 499_999, 500_000, 500_001, 999_999)) * self.draw.choice((1, -1)), 10**14)
        if model.rounded(longer) == 0 or abs(longer) * model.UNITS > model.LIMIT:
            return self.number(value), value
        return self.number(longer, 14), model.rounded(longer)

    def time(self, ms):
        moment = datetime.fromtimestamp(ms // 1000, timezone.utc) + timedelta(milliseconds=ms % 1000)
        shape = self.draw.randrange(5)
        if shape == 0:
            return str(ms)
        if shape == 1:
            return quoted(ms)
        if shape == 2:
            return quoted(moment.replace(tzinfo=None).isoformat())
        offset = timezone(timedelta(minutes=self.draw.randint(-720, 840)))
        return quoted(moment.astimezone(offset).isoformat() if shape == 3 else moment.isoformat().replace("+00:00", "Z"))

    def moment(self):
        self.clock += self.draw.choice((0, 1, 1, 500, 60_000, 3_600_000))
        return self.clock if self.chance(0.8) else self.clock - self.draw.randint(0, 5000)

    def word(self, word):
        return quoted(self.draw.choice((word, word.upper(), word.capitalize())))

    def name(self):
        self.serial += 1
        return f"{self.asset}-{self.serial}"

    def shuffled(self, **texts):
        items = list(texts.items())
        self.draw.shuffle(items)
        return members(**dict(items))

    # ---- executions ----

    def leg_members(self, mode):
        """(members, leg, reduce_only) that say which leg is meant."""
        if mode == model.ONE_WAY:
            return {}, None, False
        kind = self.draw.randrange(5)
        if kind < 2:
            reduce_only = kind == 1
            return {"reduce_only": self.draw.choice(("true", '"true"')) if reduce_only else self.draw.choice(("false", "null"))}, None, reduce_only
        leg = self.draw.choice((1, -1))
        if kind == 2:
            return {"positionIdx": self.draw.choice((str, quoted))(1 if leg > 0 else 2)}, leg, False
        return {"position_side": self.word(self.draw.choice(("long", "buy") if leg > 0 else ("short", "sell")))}, leg, False

    def mode_members(self, mode, legs):
        if mode == model.ONE_WAY and self.chance(0.3):
            return {"mode": self.draw.choice((None, "null", '""'))}
        if mode == model.HEDGE and "positionIdx" in legs and self.chance(0.5):
            return {}
        return {"mode": quoted(mode)}

    def identity(self, mode):
        """
        (members, message id, identity): a new one, or one that another execution has already, or had and was refused. Of the
        same position: which of two positions is first depends on what they wait for.
        """
        if self.named[mode] and self.chance(0.04):
            return self.draw.choice(self.named[mode])
        name, kind = self.name(), self.draw.choice(("execution", "event", "message", "body"))
        if kind == "body":
            return {"trace_id": quoted(name)}, None, (kind, name)
        members_of = {"execution": {"execution_id": quoted(name), "event_id": quoted(self.name())}, "event": {"event_id": quoted(name)}}
        self.named[mode].append((members_of.get(kind, {}), name if kind == "message" else None, (kind, name)))
        return self.named[mode][-1]

    def flat(self):
        mode, side = self.draw.choice(self.modes), self.draw.choice(("buy", "sell"))
        legs, leg, reduce_only = self.leg_members(mode)
        quantity, price, fees, at = self.quantity(), self.price(mode), self.fees() if self.chance(0.6) else Fraction(0), self.moment()
        order = self.draw.choice((None, self.name(), *self.cumulative))
        fees_text, fees = self.rounded_number(fees) if fees else (self.draw.choice((None, "0", "null")), fees)
        said_at = self.chance(0.95)
        names, message_id, identity = self.identity(mode)
        body = self.shuffled(
            event_type=quoted(self.draw.choice(("order_executed", "position_updated_from_order"))),
            asset=quoted(self.draw.choice((self.asset, self.asset.lower()))), side=self.word(side),
            order_id=quoted(order) if order else None, **names, **legs, **self.mode_members(mode, legs),
            **{self.draw.choice(("execution_quantity", "filled_quantity", "filled_qty")): self.number(quantity),
               self.draw.choice(("execution_price", "price")): self.number(price), self.draw.choice(("execution_fees", "fees")): fees_text,
               self.draw.choice(("executed_at", "timestamp")): self.time(at) if said_at else None})

        def take():
            self.book.execution(self.asset, mode, identity, order, side, quantity, price, fees, at if said_at else ARRIVAL,
                                leg=leg, reduce_only=reduce_only)
        return ORDER_QUEUE, body, message_id, take

    def nested(self):
        mode, side = self.draw.choice(self.modes), self.draw.choice(("buy", "sell"))
        legs, leg, reduce_only = self.leg_members(mode)
        order = self.draw.choice((None, *self.cumulative))
        filled, average, fees = Fraction(0), self.price(mode), Fraction(0)
        if order is None:
            order = self.name()
        else:
            mode, side, legs, leg, reduce_only, filled, average, fees = self.cumulative[order]
        more = self.quantity() if self.chance(0.85) else self.draw.choice((Fraction(0), -filled / 2))
        filled = min(max(model.rounded(filled + more), Fraction(1, model.UNITS)), Fraction(model.LIMIT, model.UNITS))
        average = model.rounded((average + self.price(mode)) / 2) if self.chance(0.9) else self.price(mode)
        average_text, average = self.rounded_number(average)
        fees = fees + self.fees()
        fees_text, said_fees = self.rounded_number(fees) if self.chance(0.8) else (self.draw.choice((None, "null")), None)
        self.cumulative[order] = (mode, side, legs, leg, reduce_only, filled, average, fees)
        at, event = self.moment(), self.name()
        inside = self.chance(0.5)
        about = {**legs, **self.mode_members(mode, legs)}
        inner = self.shuffled(order_id=quoted(order), asset=quoted(self.asset), side=self.word(side),
                              filled_quantity=self.number(filled), average_price=average_text, fees=fees_text,
                              executed_at=self.time(at) if inside else None, is_dry_run=self.draw.choice(("false", "null", None)), **about)
        body = self.shuffled(event_type=self.draw.choice(('"filled"', '"partially_filled"')), event_id=quoted(event), order=inner,
                             timestamp=self.time(self.clock if inside else at))

        def take():
            self.book.execution(self.asset, mode, ("event", event), order, side, filled, average, said_fees, at,
                                cumulative=True, leg=leg, reduce_only=reduce_only)
        return ORDER_QUEUE, body, None, take

    def nothing(self):
        """Dry runs and states that fill nothing."""
        order = self.draw.choice((self.name(), *self.cumulative))
        word = self.draw.choice(("created", "cancelled", "modified", "rejected", "filled"))
        inner = members(order_id=quoted(order), asset=quoted(self.asset), side='"Buy"', filled_quantity="1000", average_price="5",
                        is_dry_run=self.draw.choice(("true", '"true"')) if word == "filled" else None)
        return ORDER_QUEUE, members(event_type=quoted(word), event_id=quoted(self.name()), order=inner), None, lambda: None

    def wrong(self):
        """Refused whatever went before."""
        field, text, reason = self.draw.choice((
            ("execution_quantity", '"1e3"', "bad_number"), ("execution_quantity", "0", "not_positive"), ("execution_quantity", "0.123456789", "bad_number"),
            ("execution_price", '"-1"', "not_positive"), ("execution_price", "1000000000000", "out_of_range"), ("execution_price", '" 1"', "bad_number"),
            ("execution_fees", '"999999999999.999999995"', "out_of_range"), ("execution_fees", "true", "bad_number"), ("side", '"hold"', "bad_side"),
            ("mode", '"both"', "bad_mode"), ("executed_at", '"2026-02-30T00:00:00Z"', "bad_time"), ("side", "null", "missing_field"),
            ("event_type", '"order_excuted"', "wrong_event_type")))
        texts = {"event_type": '"order_executed"', "execution_id": quoted(self.name()), "asset": quoted(self.asset), "side": '"Buy"', "execution_quantity": "1",
                 "execution_price": "1", field: text}

        def refuse():
            raise model.Refused(reason, field)
        return ORDER_QUEUE, members(**texts), None, refuse

    # ---- market data ----

    def market(self):
        mode, said, texts = self.draw.choice(self.modes), {}, {}
        side = self.draw.choice(("buy", "sell", None))
        if mode == model.HEDGE:
            leg = self.draw.choice((1, -1, None))
            if leg is not None:
                said["leg"], texts["positionIdx"] = leg, self.draw.choice((str, quoted))(1 if leg > 0 else 2)
                side = self.draw.choice((side, None))
            if leg is None or self.chance(0.5):
                texts["mode"] = '"hedge"'
        said["side"] = side
        texts["side"] = self.word(side) if side else self.draw.choice((None, "null", '""', '"None"'))
        self._figures_said(mode, said, texts)
        at = self.moment() if self.chance(0.9) else None
        if at is not None:
            texts[self.draw.choice(("timestamp", "updatedTime"))] = self.time(at)
        inner = self.shuffled(symbol=quoted(self.draw.choice((self.asset, self.asset.lower()))), **texts)
        body = members(event_type='"position"', channel='"position"', trace_id=quoted(self.name()), **{self.draw.choice(("data", "payload")): inner})
        return MARKET_QUEUE, body, None, lambda: self.book.market(self.asset, mode, said, at, ARRIVAL)

    def _figures_said(self, mode, said, texts):
        """Each figure is said, or is not in one of three ways. Near the stored average, for the sake of the threshold."""
        stored = self.book.position(self.asset, mode)
        if self.chance(0.6):
            said["size"] = Fraction(0) if self.chance(0.15) else abs(stored.net()) if self.chance(0.3) else self.quantity()
            said["size"] = min(said["size"], Fraction(model.LIMIT, model.UNITS))
            texts["size"] = self.number(said["size"])
        if self.chance(0.6):
            average = self.price(mode)
            if self.chance(0.5) and stored.average_shown() is not None:
                near = stored.average_shown() * self.draw.choice((Fraction(1001, 1000), Fraction(999, 1000))) + Fraction(self.draw.randint(-1, 1), model.UNITS)
                average = min(max(model.rounded(near), Fraction(1, model.UNITS)), Fraction(model.LIMIT, model.UNITS))
            text, said["average"] = self.rounded_number(average) if self.chance(0.85) else ("0", Fraction(0))
            texts[self.draw.choice(("avgPrice", "entryPrice"))] = text
        if self.chance(0.7):
            texts["markPrice"], said["price"] = self.rounded_number(self.price(mode))
        if self.chance(0.3):
            texts[self.draw.choice(("unrealisedPnl", "unrealizedPnl"))], said["unrealized"] = self.rounded_number(self.fees() * 1000)
        if self.chance(0.3):
            name = self.draw.choice(("realisedPnl", "realizedPnl", "cumRealisedPnl", "cumRealizedPnl"))
            texts[name], said["realized"] = self.rounded_number(self.fees() * 1000)
        for name in ("size", "avgPrice", "markPrice", "unrealisedPnl", "realisedPnl"):
            if name not in texts and self.chance(0.2):
                texts[name] = self.draw.choice(("null", '""'))

    # ---- what is sent ----

    def next(self, queue):
        again = [message for message in self.sent if message[0] == queue]
        if again and self.chance(0.12):
            return self.draw.choice(again)
        if queue == MARKET_QUEUE:
            message = self.market()
        else:
            message = self.draw.choices((self.flat, self.nested, self.nothing, self.wrong), (60, 30, 4, 6))[0]()
        self.sent.append(message)
        return message


def compare(service, book):
    shown = {(position["asset"], position["mode"]): position for position in service.get("/api/v1/positions").json()["positions"]}
    assert set(shown) == set(book.positions)
    differences = []
    for key, position in book.positions.items():
        for name, value in position.as_shown().items():
            if shown[key][name] != value:
                differences.append((*key, name, f"expected {value}", f"is {shown[key][name]}"))
        for name, at in (("opened_at", position.opened_at), ("closed_at", position.closed_at)):
            found = shown[key][name]
            ms = None if found is None else round(datetime.fromisoformat(found.replace("Z", "+00:00")).timestamp() * 1000)
            if (found is None) != (at is None) or (at not in (None, ARRIVAL) and ms != at):
                differences.append((*key, name, f"expected {at}", f"is {found}"))
    return differences


def compare_portfolio(service, book):
    """Derived from all positions at once: exact sums, and each position's part of the exposure."""
    exposure = sum((position.gross() * position.price for position in book.positions.values() if position.price is not None), Fraction(0))
    for shown in service.get("/api/v1/positions").json()["positions"]:
        position = book.positions[shown["asset"], shown["mode"]]
        part = Fraction(0)
        if exposure and position.price is not None:
            part = model.rounded(position.gross() * position.price / exposure)
        assert shown["position_size_norm"] == (None if position.price is None else model.shown(part, 2)), shown
    portfolio = service.get("/api/v1/portfolio").json()
    assert portfolio["total_realized_pnl_usdt"] == model.shown(sum(position.realized for position in book.positions.values()), 2)
    assert portfolio["total_unrealized_pnl_usdt"] == model.shown(sum(position.unrealized for position in book.positions.values()), 2)
    assert portfolio["total_exposure_usdt"] == model.shown(model.rounded(exposure), 2)
    assert portfolio["open_positions_count"] == sum(1 for position in book.positions.values() if position.sides())


class Run:
    """Tells the service and the model the same."""

    def __init__(self, world, service, book, prefix, assets):
        self.world, self.service, self.book = world, service, book
        self.seed = seed_of_run("PM_MODEL_SEED")
        print(f"PM_MODEL_SEED={self.seed}")
        self.draw = random.Random(self.seed)
        self.histories = [History(self.draw, book, f"{prefix}{number:04d}USDT") for number in range(assets)]
        self.channel = world.broker.connection.channel()
        self.channel.tx_select()
        self.refused = Counter()
        self.sent = 0

    def tell(self, history, queue):
        _, body, message_id, take = history.next(queue)
        try:
            take()
        except model.Refused as refused:
            self.refused[body, refused.reason, refused.field] += 1
        self.channel.basic_publish("", queue, body.encode(), pika.BasicProperties(
            delivery_mode=2, content_type="application/json", message_id=message_id))
        self.sent += 1

    def round(self):
        for history in self.histories:
            queue = self.draw.choice((ORDER_QUEUE, MARKET_QUEUE))
            for _ in range(self.draw.randint(1, 8)):
                self.tell(history, queue)
        # Only when that is through are the messages in the queues: before it, empty ones would not mean that all is done.
        self.channel.tx_commit()
        self.world.expect_queues_empty()
        differences = compare(self.service, self.book)
        assert not differences, f"seed {self.seed}: {differences[:5]}"

    def check_refused(self):
        letters = self.world.broker.drain(DEAD_LETTER_QUEUE)
        found = Counter((body.decode(), properties.headers["x-reason"], properties.headers["x-field"]) for properties, body in letters)
        missing, unexpected = list((self.refused - found).items()), list((found - self.refused).items())
        assert found == self.refused, f"seed {self.seed}: {unexpected[:3]} instead of {missing[:3]}"
        reasons = Counter(reason for _, reason, _ in self.refused)
        print(f"{self.sent} messages, {len(self.book.positions)} positions, refused: {dict(reasons)}")
        return reasons


@pytest.fixture(scope="module")
def book():
    return model.Book()


def test_random_histories_equal_the_rules_written_once_more(service, world, book):
    run = Run(world, service, book, "M", ASSETS)
    for step in range(ROUNDS):
        run.round()
        if step == ROUNDS // 3:
            assert service.stop()[0] == 0
            service.start()
        if step == 2 * ROUNDS // 3:
            service.kill()
            service.start()
    reasons = run.check_refused()
    assert {"out_of_range", "leg_below_zero", "not_positive", "identity_conflict"} <= set(reasons)
    compare_portfolio(service, book)


def test_so_do_histories_under_other_settings(instead, world, book):
    book.policy = model.Policy(use_average=False, size_threshold="1.5", tolerance_ms=2000)
    book.discrepancies = 0
    service = instead({"POSITION_MANAGER_USE_WS_AVG_PRICE": "false", "POSITION_MANAGER_SIZE_VALIDATION_THRESHOLD": "1.5",
                       "POSITION_MANAGER_TIMESTAMP_TOLERANCE_SECONDS": "2"})
    run = Run(world, service, book, "S", ASSETS // 2)
    for _ in range(ROUNDS // 2):
        run.round()
    run.check_refused()
    assert service.metric("position_manager_size_discrepancies_total") == book.discrepancies > 0
