"""The auditor: compares what was published with what the tables and the announcements say."""

import json
import subprocess
import time
from collections import defaultdict
from dataclasses import dataclass, field
from decimal import Decimal

from stream import FEE
from world import DEAD_LETTER_QUEUE, PORTFOLIO_QUEUE, POSITION_QUEUE


PORTFOLIO_SECONDS = 30  # for the last portfolio_updated, which no acknowledgement waits for


@dataclass
class Findings:
    confirmed: int = 0
    lost: int = 0         # confirmed executions that no position counts
    twice: int = 0        # countings above one
    unannounced: int = 0  # positions whose newest version nobody was told
    wrong: list = field(default_factory=list)  # anything else that should not be

    def is_clean(self):
        return self.lost == self.twice == self.unannounced == 0 and not self.wrong


class Announcements:
    """What the service has announced of every position so far."""

    def __init__(self):
        self.newest = {}                  # asset: version
        self.said = defaultdict(dict)     # asset: {version: (size, fees-free figures)}
        self.contradictions = []

    def read(self, connection):
        """Takes every announcement out of the queue."""
        for body in drain(connection, POSITION_QUEUE):
            self.take(json.loads(body))

    def take(self, event):
        asset, version = event["asset"], event["version"]
        said = (event["size"], event["average_entry_price"], event["realized_pnl"])
        if self.said[asset].setdefault(version, said) != said:
            self.contradictions.append(f"{asset} version {version} was announced as {self.said[asset][version]} and as {said}")
        self.newest[asset] = max(version, self.newest.get(asset, 0))


def drain(connection, queue):
    """The bodies of all messages that are in the queue now. They are taken out."""
    channel = connection.channel()
    count = channel.queue_declare(queue, passive=True).method.message_count
    bodies = []
    if count:
        channel.basic_qos(prefetch_count=2000)
        for method, _, body in channel.consume(queue, inactivity_timeout=5):
            if method is None:
                break
            bodies.append(body)
            if len(bodies) % 1000 == 0 or len(bodies) >= count:
                channel.basic_ack(method.delivery_tag, multiple=True)
            if len(bodies) >= count:
                break
        channel.cancel()
    channel.close()
    return bodies


def check_counted(findings, confirmed, journal, rows):
    """Identities against the journal; then each position against a fold of its own, which knows no order."""
    known = set(journal)
    findings.confirmed += len(confirmed)
    findings.lost += len(set(confirmed) - known)
    for identity in sorted(known - set(confirmed))[:5]:
        findings.wrong.append(f"the journal has {identity}, which nobody published")
    counts, missed, sizes = defaultdict(int), defaultdict(int), defaultdict(Decimal)
    for identity, (asset, quantity) in confirmed.items():
        counts[asset] += 1
        missed[asset] += identity not in known
        sizes[asset] += quantity
    for asset, count in counts.items():
        size, fees, *_ = rows.get(asset, (Decimal(0), Decimal(0), 0))
        counted = int(fees / FEE)
        journalled = count - missed[asset]
        findings.twice += max(0, counted - journalled)
        findings.lost += max(0, journalled - counted)
        if size != sizes[asset] and counted == count:
            findings.wrong.append(f"{asset} has the size {size}, the executions add up to {sizes[asset]}")


def check_announced(findings, announcements, rows):
    for asset, (_, _, version) in rows.items():
        newest = announcements.newest.get(asset, 0)
        if newest < version:
            findings.unannounced += 1
        if newest > version:
            findings.wrong.append(f"{asset}: version {newest} was announced, the row has {version}")
    findings.wrong += announcements.contradictions[:5]


def check_served(findings, service, rows):
    served = {one["asset"]: one for one in service.get("/api/v1/positions").json()["positions"]}
    for asset, (size, fees, version) in rows.items():
        one = served.get(asset)
        if one is None or (Decimal(one["size"]), Decimal(one["fees_paid"]), one["version"]) != (size, fees, version):
            findings.wrong.append(f"{asset}: served {one}, the row has {size}, {fees}, version {version}")


def last_portfolios(connection, service):
    """What is in the queue of portfolio_updated when the last of it says what is served, or when it has been waited for that long enough."""
    deadline, bodies = time.monotonic() + PORTFOLIO_SECONDS, []
    while True:
        bodies += drain(connection, PORTFOLIO_QUEUE)
        found = Findings()
        check_portfolio(found, bodies, service.get("/api/v1/portfolio").json())
        if found.is_clean() or time.monotonic() > deadline:
            return bodies
        time.sleep(0.1)


def check_portfolio(findings, bodies, served):
    """The last portfolio_updated has to say what the portfolio came to."""
    if not bodies:
        findings.wrong.append("no portfolio_updated")
        return
    last = json.loads(bodies[-1])
    times = ("timestamp", "calculated_at")
    different = {name: (last[name], served[name]) for name in last if name in served and name not in times and last[name] != served[name]}
    if different:
        findings.wrong.append(f"the last portfolio_updated and the portfolio differ: {different}")


def check_journal_explains_rows(findings, service):
    """position-manager --verify: sizes, averages, realized PnL and fees recounted from the journal."""
    done = subprocess.run([str(service.world.binary), "--verify"], env=service.environment, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, timeout=60, check=False)
    if done.returncode != 0:
        findings.wrong.append(f"--verify ended with {done.returncode}: {done.stdout[-500:]}")


def audit(scene, confirmed, prefix, announcements, service):
    """All that was confirmed for the assets with that prefix. The stream has ended and the service has settled."""
    findings = Findings()
    rows = {asset: (size, fees, version) for asset, size, fees, version in
            scene.sql("select asset, size, fees_paid, version from positions where mode = 'one-way' and asset like %s", prefix + "%")}
    journal = [row[0] for row in scene.sql("select identity from position_manager_journal where identity is not null "
                                           "and source = 'order_execution' and asset like %s", prefix + "%")]
    # The service writes an execution_id with a letter in front that says what kind of identity it is.
    check_counted(findings, confirmed, [identity.split(":", 1)[-1] for identity in journal], rows)
    connection = scene.neighbours.amqp(scene.name)
    try:
        announcements.read(connection)
        refused = drain(connection, DEAD_LETTER_QUEUE)
        portfolios = last_portfolios(connection, service)
    finally:
        connection.close()
    check_announced(findings, announcements, rows)
    check_served(findings, service, rows)
    check_portfolio(findings, portfolios, service.get("/api/v1/portfolio").json())
    check_journal_explains_rows(findings, service)
    if refused:
        findings.wrong.append(f"{len(refused)} messages in the dead-letter queue, e.g. {refused[0][:300]}")
    return findings
