"""The rules of the contract's §1 and §3 once more, in exact fractions: what a position has to be after a history.

Written from the contract alone and kept short, so that it can be read beside it. Nothing of the service is used.
"""

from fractions import Fraction

UNITS = 10**8
LIMIT = 10**20 - 1
ONE_WAY, HEDGE = "one-way", "hedge"
NOTHING = {"filled": 0, "value": 0, "fees": 0}


class Policy:
    """The settings that decide about market data; the defaults are the contract's (§7). Times in milliseconds, as everywhere here."""

    def __init__(self, use_average=True, average_threshold="0.001", size_threshold="0.0001", resolution=True, tolerance_ms=0):
        self.use_average, self.average_threshold, self.size_threshold = use_average, Fraction(average_threshold), Fraction(size_threshold)
        self.resolution, self.tolerance_ms = resolution, tolerance_ms


class Refused(Exception):
    def __init__(self, reason, field):
        super().__init__(reason, field)
        self.reason, self.field = reason, field


def rounded(exact, field=None):
    """To eight digits, half away from zero; with a field it also has to fit NUMERIC(20,8)."""
    exact = Fraction(exact) * UNITS
    units = (2 * abs(exact) + 1) // 2
    if field is not None and units > LIMIT:
        raise Refused("out_of_range", field)
    return Fraction(units if exact > 0 else -units, UNITS)


def shown(value, digits):
    """As the contract writes decimals: trailing zeros trimmed, but so many digits kept."""
    if value is None:
        return None
    units = int(value * UNITS)
    whole, fraction = divmod(abs(units), UNITS)
    fraction = f"{fraction:08d}".rstrip("0").ljust(digits, "0")
    return f"{'-' if units < 0 else ''}{whole}.{fraction}"


class Leg:
    """What is held on one side: unsigned, with its average."""

    def __init__(self, sign, size_field, average_field, size=Fraction(0), average=None):
        self.sign, self.size_field, self.average_field, self.size, self.average = sign, size_field, average_field, size, average

    def grow(self, quantity, value):
        cost, total = value, quantity
        if self.average is not None:
            cost, total = cost + self.size * self.average, total + self.size
        size = rounded(self.size + quantity, self.size_field)
        self.average = self.price(cost, total)
        self.size = size

    def price(self, cost, quantity):
        if cost < 0:
            raise Refused("not_positive", self.average_field)
        average = rounded(cost / quantity, self.average_field)
        if average <= 0:
            raise Refused("not_positive", self.average_field)
        return average

    def gain(self, closed, price):
        return Fraction(0) if self.average is None else closed * (price - self.average) * self.sign


class Position:
    def __init__(self, mode):
        self.mode = mode
        self.size, self.average = Fraction(0), None  # one-way, signed
        self.legs = {1: (Fraction(0), None), -1: (Fraction(0), None)}  # hedge
        self.price = None
        self.unrealized = self.realized = self.fees = Fraction(0)
        self.version = 0
        self.opened_at = self.closed_at = None
        self.last_execution_at = None
        self.market_at, self.market_said = None, []

    def figures(self):
        return (self.size, self.average, tuple(self.legs.values()), self.price, self.unrealized, self.realized, self.fees)

    def copy(self):
        other = Position(self.mode)
        other.__dict__.update(self.__dict__, legs=dict(self.legs), market_said=list(self.market_said))
        return other

    def sides(self):
        """(sign, unsigned size, average) of each side that is held."""
        if self.mode == ONE_WAY:
            parts = ((1 if self.size > 0 else -1, abs(self.size), self.average),)
        else:
            parts = tuple((sign, *self.legs[sign]) for sign in (1, -1))
        return [part for part in parts if part[1]]

    def gross(self):
        return sum(size for _, size, _ in self.sides())

    def net(self):
        return sum(sign * size for sign, size, _ in self.sides())

    def revalue(self):
        held = self.sides()
        if not held:
            self.unrealized = Fraction(0)
        elif self.price is not None and all(average is not None for _, _, average in held):
            gain = sum((sign * size * (self.price - average) for sign, size, average in held), Fraction(0))
            self.unrealized = rounded(gain, "unrealized_pnl")

    def note_opening(self, before, at):
        if not self.sides():
            if before.sides():
                self.closed_at = at
            return
        turned = self.mode == ONE_WAY and before.size * self.size < 0
        if not before.sides() or turned:
            self.opened_at = at
        self.closed_at = None

    # ---- executions ----

    def execute(self, side, quantity, value, fees, at, leg=None, reduce_only=False):
        """The position after a fill of this quantity that cost this value; leg is 1, -1 or None."""
        after = self.copy()
        direction = 1 if side == "buy" else -1
        if self.mode == ONE_WAY:
            after._execute_one_way(direction, quantity, value, fees)
        else:
            after._execute_leg(direction, quantity, value, fees, leg if leg is not None else direction * (-1 if reduce_only else 1))
        after.fees = rounded(after.fees + fees, "fees_paid")
        after.revalue()
        after.note_opening(self, at)
        after.last_execution_at = at if self.last_execution_at is None else max(at, self.last_execution_at)
        after.version += 1
        return after

    def _reduce(self, leg, closed, quantity, value, fees):
        self.realized = rounded(self.realized + leg.gain(closed, value / quantity) - fees, "realized_pnl")
        leg.size -= closed

    def _execute_one_way(self, direction, quantity, value, fees):
        sign = direction if not self.size else 1 if self.size > 0 else -1
        held = Leg(sign, "size", "average_entry_price", abs(self.size), self.average)
        if sign == direction:
            held.grow(quantity, value)
        elif quantity <= held.size:
            self._reduce(held, quantity, quantity, value, fees)
        else:
            rest = quantity - held.size
            self._reduce(held, held.size, quantity, value, fees)
            held.sign, held.size, held.average = direction, rest, held.price(value, quantity)
        self.size = held.sign * held.size
        self.average = held.average if held.size else None

    def _execute_leg(self, direction, quantity, value, fees, sign):
        name = "long" if sign > 0 else "short"
        held = Leg(sign, f"{name}_size", f"{name}_avg_price", *self.legs[sign])
        if direction == sign:
            held.grow(quantity, value)
        elif quantity > held.size:
            raise Refused("leg_below_zero", held.size_field)
        else:
            self._reduce(held, quantity, quantity, value, fees)
        self.legs[sign] = (held.size, held.average if held.size else None)

    # ---- market data ----

    def _place_in_order(self, said, at):
        """False: older than the newest, or the same once more."""
        if at is None:
            return True
        if self.market_at is not None and (at < self.market_at or (at == self.market_at and said in self.market_said)):
            return False
        return True

    def market(self, said, at, arrival, policy):
        """The position after an event. said: side, leg and figures that are said (absent: not said). None: changes nothing."""
        if not self._place_in_order(said, at):
            return None
        after = self.copy()
        sign = None if self.mode == ONE_WAY else self._leg_of(said)
        speaks = self.mode == ONE_WAY or sign is not None
        pnl = ("unrealized", "realized") if self.mode == ONE_WAY else ()
        if self.version == 0 and not (speaks and any(said.get(key) for key in ("size", "average", *pnl))):
            return None
        after.price = said.get("price", after.price)
        followed = "price" in said
        if speaks:
            followed |= after._take_size_and_average(self, said, at, sign, policy)
        if self.mode == ONE_WAY:
            after.realized = said.get("realized", after.realized)
        if self.mode == ONE_WAY and "unrealized" in said:
            after.unrealized = said["unrealized"]
        elif followed:
            after.revalue()
        after.note_opening(self, at if at is not None else arrival)
        if at is not None:
            after.market_said = [*(after.market_said if at == self.market_at else []), said]
            after.market_at = at
        if self.version == 0 or after.figures() != self.figures():
            after.version += 1
        return after

    @staticmethod
    def _leg_of(said):
        if said.get("leg") is not None:
            return said["leg"]
        if said.get("side") is not None:
            return 1 if said["side"] == "buy" else -1
        return 1 if said.get("size") else None

    def size_said(self, said):
        return -said["size"] if self.mode == ONE_WAY and said.get("side") == "sell" else said["size"]

    def is_discrepancy(self, said, at, policy):
        """Whether an event that is in order says another size than the one of a position that is there."""
        if self.version == 0 or "size" not in said or not self._place_in_order(said, at):
            return False
        sign = None if self.mode == ONE_WAY else self._leg_of(said)
        if self.mode == HEDGE and sign is None:
            return False
        stored = self.size if self.mode == ONE_WAY else self.legs[sign][0]
        return abs(self.size_said(said) - stored) > policy.size_threshold

    def _may_take_size(self, at, policy):
        if self.last_execution_at is None:
            return True
        return policy.resolution and at is not None and at - self.last_execution_at > policy.tolerance_ms

    def _take_size_and_average(self, before, said, at, sign, policy):
        """Whether one of them changed."""
        size, average = (self.size, self.average) if self.mode == ONE_WAY else self.legs[sign]
        old = (size, average)
        if "size" in said and before._may_take_size(at, policy):
            size = self.size_said(said)
        new = said.get("average")
        if new and size and (average is None or (policy.use_average and abs(new - average) > policy.average_threshold * average)):
            average = new
        if not size:
            average = None
        if self.mode == ONE_WAY:
            self.size, self.average = size, average
        else:
            self.legs[sign] = (size, average)
        return (size, average) != old

    # ---- as it is shown ----

    def average_shown(self):
        held = self.sides()
        return held[0][2] if len(held) == 1 else None

    def percentage(self):
        average, size = self.average_shown(), self.net()
        if not size or average is None:
            return None
        percentage = rounded(self.unrealized / (abs(size) * average) * 100)
        return percentage if abs(percentage) * UNITS <= LIMIT else None

    def as_shown(self):
        (long_size, long_average), (short_size, short_average) = self.legs[1], self.legs[-1]
        hedge = self.mode == HEDGE
        return {
            "mode": self.mode,
            "size": shown(self.net(), 1),
            "average_entry_price": shown(self.average_shown(), 2),
            "current_price": shown(self.price, 2),
            "unrealized_pnl": shown(self.unrealized, 2),
            "realized_pnl": shown(self.realized, 2),
            "fees_paid": shown(self.fees, 2),
            "long_size": shown(long_size, 1) if hedge else None,
            "short_size": shown(short_size, 1) if hedge else None,
            "long_avg_price": shown(long_average, 2) if hedge else None,
            "short_avg_price": shown(short_average, 2) if hedge else None,
            "unrealized_pnl_pct": shown(self.percentage(), 2),
            "version": self.version,
        }


class Book:
    """All positions, what was counted already, and the orders' totals (contract §3.2, §3.3)."""

    def __init__(self):
        self.policy = Policy()
        self.discrepancies = 0
        self.positions = {}
        self.identities = {}  # identity: (asset, mode, side, order, quantity, price)
        self.orders = {}

    def position(self, asset, mode):
        return self.positions.get((asset, mode)) or Position(mode)

    def execution(self, asset, mode, identity, order, side, quantity, price, fees, at, cumulative=False, leg=None, reduce_only=False):
        """Counts an execution, or raises Refused. What is a repeat changes nothing."""
        content = (asset, mode, side, order, quantity, price)
        if identity is not None and identity in self.identities:
            if self.identities[identity] != content:
                raise Refused("identity_conflict", "identity")
            return
        key = (asset, mode, order)
        total = self.orders.get(key, NOTHING) if order is not None else NOTHING
        if cumulative:
            if quantity <= total["filled"]:
                return
            new = {"filled": quantity, "value": quantity * price, "fees": total["fees"] if fees is None else fees}
        else:
            new = {"filled": total["filled"] + quantity, "value": total["value"] + quantity * price, "fees": total["fees"] + fees}
        more = {name: new[name] - total[name] for name in new}
        rounded(more["fees"], "fees")
        after = self.position(asset, mode).execute(side, more["filled"], more["value"], more["fees"], at, leg, reduce_only)
        self.positions[asset, mode] = after
        if order is not None:
            self.orders[key] = new
        if identity is not None:
            self.identities[identity] = content

    def market(self, asset, mode, said, at, arrival):
        before = self.position(asset, mode)
        after = before.market(said, at, arrival, self.policy)
        if after is not None:
            self.discrepancies += before.is_discrepancy(said, at, self.policy)
            self.positions[asset, mode] = after
