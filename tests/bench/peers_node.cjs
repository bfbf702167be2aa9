// Drains no-op jobs with graphile-worker or pg-boss, set up as each was fastest; prints jobs a second.
// Runs in the folder in which npm has installed both.
const { createRequire } = require("node:module");
const { performance } = require("node:perf_hooks");
const installed = createRequire(`${process.cwd()}/`);

const [peer, connectionString, count] = process.argv.slice(2);
const number = Number(count);
let first = 0;
let done = 0;
let finish;
const allDone = new Promise((resolve) => (finish = resolve));

function performed(jobs) {
  first ||= performance.now();
  done += jobs;
  if (done === number) finish(performance.now());
}

async function graphileWorker() {
  const { run, makeWorkerUtils, Logger } = installed("graphile-worker");
  const logger = new Logger(() => () => {});
  const utils = await makeWorkerUtils({ connectionString, logger });
  await utils.migrate();
  await utils.withPgClient((client) =>
    client.query("SELECT graphile_worker.add_job('noop') FROM generate_series(1, $1::int)", [number]),
  );
  const runner = await run({
    preset: {
      worker: { connectionString, concurrentJobs: 20, localQueue: { size: 500 }, completeJobBatchDelay: 0, logger },
    },
    taskList: { noop: async () => performed(1) },
    noHandleSignals: true,
  });
  const last = await allDone;
  await runner.stop();
  await utils.release();
  return last;
}

async function pgBoss() {
  const PgBoss = installed("pg-boss");
  const boss = new PgBoss(connectionString);
  await boss.start();
  await boss.createQueue("noop");
  for (let left = number; left > 0; left -= 10000) {
    await boss.insert(Array.from({ length: Math.min(left, 10000) }, () => ({ name: "noop" })));
  }
  // It waits for the interval after each batch, 0.5 s at least, so one loop asks instead.
  while (done < number) {
    const jobs = await boss.fetch("noop", { batchSize: 500 });
    performed(jobs.length);
    await boss.complete("noop", jobs.map((job) => job.id));
  }
  const last = performance.now();
  await boss.stop({ graceful: false });
  return last;
}

const drain = { "graphile-worker": graphileWorker, "pg-boss": pgBoss }[peer];
drain().then((last) => {
  console.log((number / (last - first)) * 1000);
  process.exit(0);
});
