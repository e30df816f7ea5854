#!/usr/bin/env python3
"""The fair turn as a simulation, apart from the gateway: a sliding window of L places that leave H seconds after they were taken.

A call is granted at once if its team has nobody waiting, has less than its share of the window in use, and a place is free.
Else it waits; waiting calls are granted in the order of start-time fair queueing, evenly spaced.

    queue_sim.py            prints what the rule comes to, beside first come first served and beside spacing alone
    queue_sim.py --traces   prints traces of the rule as JSON lines, which the gateway's desk is held against

Time is in whole milliseconds, in steps of 50; places leave at the beginning of a tick of 100, as the gateway's do.
"""
import json
import random
import sys

H, STEP, TICK, ACTIVE, MADE_UP = 61_000, 50, 100, 300_000, 5_000


def simulate(L, rule, greedy=0, callers=12, quiet=None, batches=(), until=915, reserve=0.1, weights=None, seed=1):
    """Returns asks (when, ticket, team) and grants (when, ticket). `greedy` teams ask again at once; `quiet` asks every (from, to)
    seconds."""
    rng, weight = random.Random(seed), (weights or {}).get
    leaving, used, waiting, tag, seen = [], {}, {}, {}, {}
    asked, granted = [], []
    virtual, last, now = 0.0, None, 0
    asks = [f"g{i}" for _ in range(callers) for i in range(greedy)]
    batches = sorted(batches)
    next_quiet = rng.uniform(*quiet) * 1000 if quiet else float("inf")

    def grant(team, ticket):
        nonlocal virtual
        virtual = max(virtual, tag[team])
        tag[team] += 1 / weight(team, 1)
        used[team] = used.get(team, 0) + 1
        leaving.append((((now + H) // TICK + 1) * TICK, team))
        granted.append((now, ticket))
        if team.startswith("g"):
            asks.append(team)

    def share(team):
        active = [t for t in seen if now - seen[t] < ACTIVE]
        return L * (1 - reserve) * weight(team, 1) / sum(weight(t, 1) for t in active)

    def ask(team):
        ticket = len(asked)
        asked.append((now, ticket, team))
        seen[team] = now
        if not waiting.get(team):
            tag[team] = max(tag.get(team, 0.0), virtual)
            if rule == "turn" and used.get(team, 0) < share(team) and len(leaving) < L:
                return grant(team, ticket)
        waiting.setdefault(team, []).append(ticket)

    def spacing():
        free = L - len(leaving)
        return max(((at - last) / (free + j) for j, (at, _) in enumerate(sorted(leaving), 1)), default=0.0)

    while now < until * 1000:
        for place in [p for p in leaving if p[0] <= now]:
            leaving.remove(place)
            used[place[1]] -= 1
        todo, asks[:] = list(asks), []
        for team in todo:
            ask(team)
        if now >= next_quiet:
            ask("quiet")
            next_quiet = now + rng.uniform(*quiet) * 1000
        while batches and batches[0][0] * 1000 <= now:
            ask(batches.pop(0)[1])
        while len(leaving) < L and any(waiting.values()):
            teams = [t for t in waiting if waiting[t]]
            for team in teams:
                seen[team] = now
            if rule == "fifo":
                team = min(teams, key=lambda t: waiting[t][0])
            else:
                if rule == "turn" or len(leaving) >= L / 4:
                    due = now if last is None else last + spacing()
                    if now < due - 1e-6:
                        break
                    last = max(due, now - MADE_UP)  # the ideal moment, so that lateness does not add up
                else:
                    last = now
                team = min(teams, key=lambda t: (tag[t], t))
            grant(team, waiting[team].pop(0))
        now += STEP
    return asked, granted


def joined(asked, granted):
    """Grants as (team, asked, granted), in seconds."""
    return [(asked[ticket][2], asked[ticket][0] / 1000, at / 1000) for at, ticket in granted]


def row(name, grants, L, greedy, until=915.0):
    warm = [g for g in grants if H / 1000 <= g[2] < until]
    each = [sum(1 for g in warm if g[0] == f"g{i}") for i in range(greedy)]
    jain = sum(each) ** 2 / (len(each) * sum(n * n for n in each))
    waits = sorted(at - asked for team, asked, at in grants if team == "quiet" and asked >= H / 1000)
    used = len(warm) / ((until - H / 1000) / (H + TICK) * 1000) / L
    print(f"{name:28} used {used:6.1%}  Jain {jain:.3f}  quiet: mean {sum(waits) / len(waits):5.1f} "
          f"p95 {waits[int(len(waits) * .95)]:5.1f} worst {waits[-1]:5.1f}")


SCENES = {
    "three greedy teams and a quiet one, 60 a minute": (60, dict(greedy=3, callers=12, quiet=(5, 15), until=600)),
    "three greedy teams and a quiet one, 240 a minute": (240, dict(greedy=3, callers=40, quiet=(5, 15), until=300)),
    "weights": (60, dict(greedy=3, callers=12, weights={"g0": 1, "g1": 2, "g2": 4}, until=600)),
    "a lone batch": (60, dict(batches=[(100, "a")] * 70, until=300)),
    "a newcomer": (60, dict(greedy=1, callers=70, batches=[(400 + 9 * i, "new") for i in range(20)], until=700)),
}

if __name__ == "__main__" and "--traces" in sys.argv:
    for name, (L, terms) in SCENES.items():
        for seed in range(3):
            asked, granted = simulate(L, "turn", seed=seed, **terms)
            scene = {"name": f"{name} ({seed})", "limit": L, "weights": terms.get("weights", {})}
            print(json.dumps({**scene, "asks": asked, "grants": granted}))
elif __name__ == "__main__":
    for L in (60, 240):
        for rule in ("fifo", "even", "turn"):
            terms = dict(greedy=3, callers=12 if L == 60 else 40, quiet=(5, 15))
            row(f"{L}/min, 3 greedy, {rule}", joined(*simulate(L, rule, **terms)), L, 3)
    for rule in ("even", "turn"):
        waits = sorted(at - when for _, when, at in joined(*simulate(60, rule, batches=[(100, "a")] * 40, until=300)))
        print(f"60/min, a lone batch of 40, {rule}: median {waits[20]:.1f} s, last {waits[-1]:.1f} s")
    served = joined(*simulate(60, "turn", greedy=3, weights={"g0": 1, "g1": 2, "g2": 4}))
    print("weights 1, 2, 4:", [sum(1 for g in served if g[0] == f"g{i}" and g[2] > H / 1000) for i in range(3)])
