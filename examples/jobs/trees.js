/*
 * Binary trees made, counted and thrown away: memory and its collector at work.
 *
 *   edgectl mapreduce run examples/jobs/trees.js --set depth=16
 *
 * Stands for the binary tree of the 1,000 small CPU tasks that the heavy workloads on
 * public clouds planned, in the JavaScript form of Serverless-Supercomputing's job files.
 * A tree of depth d has 2^(d+1) - 1 nodes, so the answer is known.
 */
const configs = {
  actionName: "trees",
  numActions: 32,
  actionLimits: { timeout: 60000, memory: 256, logs: 1 },
  depth: 14,
  trees: 256,
  items: "nodes",
};

function argsForAction(index) {
  const { depth, trees, numActions } = configs;
  const upTo = (chunk) => Math.floor((trees * chunk) / numActions);
  return { depth, trees: upTo(index + 1) - upTo(index) };
}

function main(params) {
  const grow = (depth) => (depth ? [grow(depth - 1), grow(depth - 1)] : []);
  const count = (tree) => tree.reduce((sum, branch) => sum + count(branch), 1);
  let nodes = 0;
  for (let tree = 0; tree < params.trees; tree++) nodes += count(grow(params.depth));
  return { nodes };
}

function reduce(results) {
  const nodes = results.reduce((sum, result) => sum + result.nodes, 0);
  const expected = configs.trees * (2 ** (configs.depth + 1) - 1);
  return { nodes, right: nodes === expected };
}

module.exports = { configs, action: main, reduce, argsForAction };
