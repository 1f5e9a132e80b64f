/*
 * Runs the local half of a JavaScript job for javascript_job.py:
 *
 *   node job_shim.js REQUEST ANSWER
 *
 * REQUEST and ANSWER are JSON files. The request is
 *   {"do": "load", "job", "set", "most"}
 *       -> {"configs", "wrong", "actions": {name: source}, "args", "names", "inputs"}
 *   {"do": "reduce", "job", "set", "results"}  -> {"value"}   (results: a JSON file)
 * and what fails in the job is {"error": {"text", "line"}}. What the job prints stays on
 * stdout.
 */
const fs = require("fs");

const [requestPath, answerPath] = process.argv.slice(2);
const request = JSON.parse(fs.readFileSync(requestPath, "utf8"));

function main() {
  const job = require(request.job);
  Object.assign(job.configs ?? {}, request.set);
  return request.do === "reduce" ? reduce(job) : load(job);
}

function load(job) {
  const configs = job.configs ?? null;
  const inputs = job.inputs ?? configs?.inputs ?? null;
  const wrong = missing(job);
  const count = Number.isInteger(configs?.numActions) ? configs.numActions : 0;
  const usable = wrong.length === 0 && count <= request.most;
  const each = inputs === null && usable ? Array.from({ length: count }, (_, i) => i) : [];
  return {
    configs,
    wrong,
    inputs: typeof inputs === "function" ? [...inputs()] : asList(inputs),
    grouped: typeof job.combine === "function",
    actions: usable ? sources(job) : {},
    args: each.map((i) => argsOf(job, i)),
    names: job.actions ? each.map((i) => job.actionFor(i)) : [],
  };
}

function missing(job) {
  const needed = job.actions ? ["actionFor", "reduce"] : ["action", "reduce"];
  const may = ["argsForAction", "combine"].filter((name) => job[name] !== undefined);
  return [...needed, ...may].filter((name) => typeof job[name] !== "function");
}

function asList(inputs) {
  return inputs === null || typeof inputs === "string" ? inputs : [...inputs];
}

/* What each action's code is; with a combine, one that runs several chunks. */
function sources(job) {
  if (job.actions) {
    const named = Object.entries(job.actions);
    return Object.fromEntries(named.map(([name, action]) => [name, asSource(action)]));
  }
  if (!job.combine) return { "": asSource(job.action) };
  return {
    "": `${asSource(job.action, "action")}
${asSource(job.combine, "combine")}
async function main(params) {
  const results = [];
  for (const chunk of params.chunks) results.push(await action(chunk));
  return combine(results);
}`,
  };
}

function argsOf(job, index) {
  const args = job.argsForAction ? job.argsForAction(index) : {};
  if (args === null || typeof args !== "object" || Array.isArray(args)) {
    throw new TypeError(`argsForAction(${index}) gave no object`);
  }
  return args;
}

/* The text of a function, found by `name` whatever its author called it. */
function asSource(action, name = "main") {
  const text = action.toString();
  if (action.name === name && /^(async\s+)?function\b/.test(text)) return text;
  try {
    new Function(`(${text})`);
    return `var ${name} = (${text});`;
  } catch {
    return `var ${name} = ({ ${text} })[${JSON.stringify(action.name)}];`; // a method
  }
}

async function reduce(job) {
  const results = JSON.parse(fs.readFileSync(request.results, "utf8"));
  return { value: (await job.reduce(results)) ?? null };
}

function failure(error) {
  const text = error instanceof Error ? `${error.name}: ${error.message}` : String(error);
  const stack = String(error?.stack ?? "");
  const at = stack.indexOf(`${request.job}:`);
  const line = at < 0 ? NaN : parseInt(stack.slice(at + request.job.length + 1), 10);
  return { error: { text, line: Number.isNaN(line) ? null : line } };
}

Promise.resolve()
  .then(main)
  .catch(failure)
  .then((answer) => fs.writeFileSync(answerPath, JSON.stringify(answer)));
