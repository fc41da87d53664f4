#!/usr/bin/env python3
"""Asks Spark and `peerscope sql` the same questions over one lake and compares every value.

Spark runs as a cluster of several worker processes on loopback and gets nothing of ours but the lake
and the DDL that lies in it. Exit code 1 if an answer differs. Needs pyspark 4 and Java 17:

    compare.py LAKE --peerscope target/release/peerscope          # ten questions and every view
    compare.py LAKE --runs 3 --measured times.tsv                 # and how long each took
"""

import argparse
import datetime
import decimal
import json
import math
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time

# Spark gives moments in the zone of the process.
os.environ["TZ"] = "UTC"
time.tzset()

from pyspark.sql import SparkSession  # noqa: E402  # after the zone is set

# Both engines read them as they are; where two texts are given, the second is Spark's.
QUESTIONS = [
    ("rows", "select count(*) as n, sum(samples) as samples, sum(lost) as lost from latency"),
    (
        "final",
        "select count(*) as n, sum(samples) as samples, max(revision) as revision,"
        " sum(case when revision > 0 then 1 else 0 end) as revised from latency_final",
    ),
    (
        "quantiles",
        "select * from latency_quantiles order by tenant, connection, prefix, source, statistic",
    ),
    (
        "span",
        "select connection, prefix, hdr_quantile(hdr_merge(hist_bucket, hist_count), 0.95) as p95_us"
        " from latency_final where tenant = {tenant} and samples > 0"
        " and window_start >= timestamp {from} and window_start < timestamp {to}"
        " group by connection, prefix order by connection, prefix",
        "select connection, prefix, min(bucket) as p95_us from ("
        " select connection, prefix, bucket,"
        "  sum(n) over (partition by connection, prefix order by bucket) as upto,"
        "  sum(n) over (partition by connection, prefix) as total from ("
        "   select connection, prefix, bucket, sum(n) as n from ("
        "    select connection, prefix, inline(arrays_zip(hist_bucket, hist_count)) as (bucket, n)"
        "    from latency_final where tenant = {tenant}"
        "    and window_start >= timestamp {from} and window_start < timestamp {to})"
        "   group by connection, prefix, bucket))"
        " where upto >= ceil(cast(0.95 as double) * total)"
        " group by connection, prefix order by connection, prefix",
    ),
    (
        "hours",
        "select tenant, date_trunc('hour', window_start) as hour, sum(samples) as samples,"
        " min(rtt_min_us) as fastest_us, max(rtt_max_us) as slowest_us from latency_final"
        " where samples > 0 group by 1, 2 order by 1, 2",
    ),
    (
        "loss",
        "select connection, prefix, sum(lost) as lost, sum(samples) as answered,"
        " cast(sum(lost) as double) / cast(sum(lost + samples) as double) as share"
        " from latency_final group by connection, prefix"
        " order by share desc, connection, prefix limit 20",
    ),
    (
        "worst",
        "select window_start, connection, prefix, source, samples, rtt_p95_us from latency_final"
        " where samples > 0 order by rtt_p95_us desc, connection, prefix, source, window_start limit 50",
    ),
    (
        "point",
        "select window_start, source, samples, rtt_p50_us, jitter_us, quality, hist_bucket, hist_count"
        " from latency where connection = {connection}"
        " and window_start >= timestamp {from} and window_start < timestamp {to}"
        " order by prefix, source, window_start",
    ),
    (
        "incidents",
        "select finding_id, rule, phase, severity, confidence, score, connection, prefix, culprit_asn,"
        " witnesses, opened_at, closed_at, duration_secs, verdict from incidents"
        " order by opened_at, finding_id",
    ),
    (
        "during",
        "select i.rule, i.connection, i.prefix, count(*) as windows, max(l.rtt_p95_us) as p95_us"
        " from latency_final l join incidents i on l.connection = i.connection"
        " and l.prefix = i.registered_prefix and l.window_start < i.closed_at"
        " and l.window_start + interval '60 seconds' > i.opened_at"
        " group by i.rule, i.connection, i.prefix order by i.rule, i.connection, i.prefix",
    ),
]

# A moment in JSON.
MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")

VIEWS = ["latency_final", "latency_quantiles", "incidents", "open_findings"]


class Ours:
    """`peerscope sql`, a process a question."""

    name = "peerscope sql"

    def __init__(self, program, lake):
        self.command = [program, "sql", "--lake", lake, "--format", "json", "-c"]

    def ask(self, sql):
        process = subprocess.Popen([*self.command, sql], stdout=subprocess.PIPE)
        text = process.stdout.read()
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0:
            sys.exit(f"peerscope sql failed on: {sql}")
        self.used = (used.ru_utime + used.ru_stime, used.ru_maxrss * 1024)
        return json.loads(text or b"[]")


class Spark:
    """A session of Spark with processes of its own for its workers."""

    def __init__(self, lake, workers, memory_mb):
        os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
        os.chdir(lake)  # the paths of the DDL are relative
        self.scratch = tempfile.TemporaryDirectory(prefix="spark-")
        settings = {
            "spark.driver.memory": f"{memory_mb}m",
            "spark.executor.memory": f"{memory_mb}m",
            "spark.driver.host": "127.0.0.1",
            "spark.driver.bindAddress": "127.0.0.1",
            "spark.local.dir": self.scratch.name,
            "spark.sql.catalogImplementation": "in-memory",
            "spark.sql.warehouse.dir": self.scratch.name,
            "spark.sql.shuffle.partitions": str(8 * workers),
            "spark.ui.enabled": "false",
            "spark.ui.showConsoleProgress": "false",
            "spark.log.level": "ERROR",
        }
        builder = SparkSession.builder.master(f"local-cluster[{workers},1,{memory_mb}]")
        for key, value in settings.items():
            builder = builder.config(key, value)
        self.session = builder.getOrCreate()
        self.session.sparkContext.parallelize(range(workers), workers).count()
        self.workers = workers
        self.name = f"Spark {self.session.version}, {workers} workers"

    def define(self, ddl):
        for statement in re.split(r";\n", pathlib.Path(ddl).read_text()):
            if statement.strip():
                self.session.sql(statement)

    def ask(self, sql):
        cpu = cpu_secs()
        answer = self.session.sql(sql)
        names, rows = answer.columns, answer.collect()
        self.used = (cpu_secs() - cpu, peak_bytes())
        return [dict(zip(names, row)) for row in rows]

    def stop(self):
        self.session.stop()
        self.scratch.cleanup()


def processes():
    """This process and all that came of it: number and what the kernel counts."""
    children, found = {}, []
    for entry in pathlib.Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = entry.read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue  # it has ended
        pid = int(entry.parent.name)
        children.setdefault(int(fields[1]), []).append((pid, fields))
        if pid == os.getpid():
            found.append((pid, fields))
    for pid, _ in found:  # grows while it is read
        found.extend(children.get(pid, []))
    return found


def cpu_secs():
    ticks = os.sysconf("SC_CLK_TCK")
    return sum(int(fields[11]) + int(fields[12]) for _, fields in processes()) / ticks


def peak_bytes():
    """The peaks of the processes added up, since the session began."""
    total = 0
    for pid, _ in processes():
        try:
            status = pathlib.Path(f"/proc/{pid}/status").read_text()
        except OSError:
            continue
        peak = re.search(r"VmHWM:\s+(\d+) kB", status)
        total += int(peak[1]) * 1024 if peak else 0
    return total


def canonical(value):
    """The same value of either engine as one and the same."""
    if isinstance(value, str) and MOMENT.fullmatch(value):
        return datetime.datetime.fromisoformat(value)
    if isinstance(value, datetime.datetime):
        return value.replace(tzinfo=datetime.timezone.utc)
    if isinstance(value, (bytes, bytearray)):
        return bytes(value).hex()
    if isinstance(value, decimal.Decimal):
        return int(value)
    if isinstance(value, list):
        return [canonical(each) for each in value]
    return value


def table(rows, is_ordered):
    rows = [{name: canonical(value) for name, value in row.items()} for row in rows]
    return rows if is_ordered else sorted(rows, key=lambda row: repr(sorted(row.items())))


def equal(ours, theirs):
    if isinstance(ours, (int, float)) and isinstance(theirs, float):
        return math.isclose(ours, theirs, rel_tol=1e-12)
    return ours == theirs


def differences(ours, theirs):
    """What is not the same, in words; nothing if all is."""
    if len(ours) != len(theirs):
        return [f"{len(ours)} rows of ours, {len(theirs)} of Spark"]
    told = []
    for number, (mine, other) in enumerate(zip(ours, theirs)):
        for name in sorted(mine.keys() | other.keys()):
            if name not in mine or name not in other or not equal(mine[name], other[name]):
                told.append(f"row {number}, {name}: {mine.get(name)} and {other.get(name)}")
    return told


def questions(lake, ours, everything):
    """Names, and the text for each engine. What has no order is compared as a bag of rows."""
    span = ours.ask(
        "select tenant, connection, count(*) as n, max(window_start) as latest from latency"
        " group by tenant, connection order by n desc, connection limit 1"
    )[0]
    latest = datetime.datetime.fromisoformat(span["latest"])
    moment = lambda at: at.strftime("'%Y-%m-%dT%H:%M:%SZ'")  # noqa: E731
    words = {
        "tenant": f"'{span['tenant']}'",
        "connection": f"'{span['connection']}'",
        "from": moment(latest - datetime.timedelta(minutes=60)),
        "to": moment(latest - datetime.timedelta(minutes=15)),
    }
    for name, *texts in QUESTIONS:
        texts = [text.format(**words) for text in texts]
        yield name, texts[0], texts[-1]
    tables = sorted(path.name for path in pathlib.Path(lake).iterdir() if any(path.glob("date=*")))
    count = " union all ".join(f"select '{name}' as name, count(*) as n from {name}" for name in tables)
    yield "tables", f"{count} order by name", f"{count} order by name"
    if everything:
        for name in [*tables, *VIEWS]:
            yield f"all of {name}", f"select * from {name}", f"select * from {name}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("lake")
    parser.add_argument("--peerscope", default="peerscope", help="the program, else the one on the PATH")
    parser.add_argument("--ddl", action="append", help="else spark.sql of the lake; may be given again")
    parser.add_argument("--workers", type=int, default=2, help="worker processes of Spark, of one core each")
    parser.add_argument("--memory-mb", type=int, default=1024, help="of each of them, and of the driver")
    parser.add_argument("--everything", action="store_true", help="compare all rows of all tables and views too")
    parser.add_argument("--runs", type=int, default=0, help="timed runs of each question; 0: the run that is compared")
    parser.add_argument("--measured", help="where their figures go, as TSV")
    options = parser.parse_args()
    lake = os.path.abspath(options.lake)
    ours = Ours(os.path.abspath(options.peerscope) if "/" in options.peerscope else options.peerscope, lake)
    asked = list(questions(lake, ours, options.everything))
    figures = open(options.measured, "w") if options.measured else None
    began, cpu = time.monotonic(), cpu_secs()
    spark = Spark(lake, options.workers, options.memory_mb)
    wrong = 0
    for ddl in options.ddl or ["_peerscope/spark.sql"]:
        spark.define(ddl)
        if figures:
            wall = time.monotonic() - began
            print("start", spark.name, cpu_secs() - cpu, wall, peak_bytes(), sep="\t", file=figures, flush=True)
        wrong += run(spark, ours, asked, options.runs, figures)
    spark.stop()
    sys.exit(1 if wrong else 0)


def run(spark, ours, asked, runs, figures):
    """Compares, then times what is right; says how many answers differ."""
    wrong = 0
    for name, mine, other in asked:
        answers, first = [], []
        for engine, sql in ((ours, mine), (spark, other)):
            answer, line = timed(engine, sql)
            answers.append(answer)
            first.append(line)
        told = differences(*(table(rows, " order by " in mine) for rows in answers))
        print(f"{'DIFFERS' if told else 'same'}: {name}, {len(answers[0])} rows", flush=True)
        for line in told[:5]:
            print(f"  {line}", flush=True)
        wrong += bool(told)
        if not figures or told:
            continue
        print("question", name, len(answers[0]), mine, sep="\t", file=figures)
        for line in first if runs == 0 else []:
            print(line, file=figures)
        for _ in range(runs):
            for engine, sql in ((ours, mine), (spark, other)):
                print(timed(engine, sql)[1], file=figures)
        figures.flush()
    return wrong


def timed(engine, sql):
    """An answer, and a line of figures."""
    began = time.monotonic()
    answer = engine.ask(sql)
    wall = time.monotonic() - began
    cpu, peak = engine.used
    return answer, "\t".join(["run", engine.name, str(cpu), str(wall), str(peak)])


if __name__ == "__main__":
    main()
