/*
 * Pi by Monte Carlo in the JavaScript form of Serverless-Supercomputing's job files:
 * `configs`, `action`, `reduce` and `argsForAction` are exported; the action is sent to
 * the nodes as source text, so it must carry all that it needs.
 *
 *   edgectl mapreduce run examples/jobs/pi.js --set points=1e9
 *
 * Each chunk has a generator of its own (sfc32), seeded by the chunk's number, so the
 * same settings give the same answer on any fleet.
 */
const configs = {
  namespace: "_",
  actionName: "pi",
  numActions: 64,
  actionLimits: { timeout: 60000, memory: 128, logs: 1 },
  // Ours: what argsForAction reads, and the field shown as progress and speed.
  points: 1e8,
  seed: 1,
  items: "points",
};

function argsForAction(index) {
  const { points, numActions, seed } = configs;
  const upTo = (chunk) => Math.floor((points * chunk) / numActions);
  return { points: upTo(index + 1) - upTo(index), seed, chunk: index };
}

function main(params) {
  let a = params.seed | 0, b = params.chunk | 0, c = 0x9e3779b9 | 0, counter = 1;
  function draw() {
    const sum = (((a + b) | 0) + counter) | 0;
    counter = (counter + 1) | 0;
    a = b ^ (b >>> 9);
    b = (c + (c << 3)) | 0;
    c = (((c << 21) | (c >>> 11)) + sum) | 0;
    return (sum >>> 0) / 4294967296;
  }
  for (let warmUp = 0; warmUp < 16; warmUp++) draw();
  const started = Date.now();
  let inside = 0;
  for (let point = 0; point < params.points; point++) {
    const x = draw(), y = draw();
    if (x * x + y * y < 1) inside++;
  }
  return { inside, points: params.points, seconds: (Date.now() - started) / 1000 };
}

function reduce(results) {
  const total = (field) => results.reduce((sum, result) => sum + result[field], 0);
  const points = total("points");
  const share = total("inside") / points;
  return {
    pi: 4 * share,
    error: Math.abs(4 * share - Math.PI),
    stderr: 4 * Math.sqrt((share * (1 - share)) / points),
    points,
  };
}

module.exports = { configs, action: main, reduce, argsForAction };
