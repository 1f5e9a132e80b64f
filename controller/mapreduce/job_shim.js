/*
 * Runs the local half of a JavaScript job for javascript_job.py:
 *
 *   node job_shim.js REQUEST ANSWER
 *
 * REQUEST and ANSWER are JSON files. The request is
 *   {"do": "load", "job", "set"}               -> {"configs", "action": {...}, "args"}
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
  const wrong = ["action", "reduce"].filter((name) => typeof job[name] !== "function");
  if (job.argsForAction !== undefined && typeof job.argsForAction !== "function") {
    wrong.push("argsForAction");
  }
  const configs = job.configs ?? null;
  const count = Number.isInteger(configs?.numActions) ? configs.numActions : 0;
  const usable = wrong.length === 0 && count <= request.most;
  return {
    configs,
    wrong,
    action: usable ? asSource(job.action) : null,
    args: usable ? Array.from({ length: count }, (_, i) => argsOf(job, i)) : [],
  };
}

function argsOf(job, index) {
  const args = job.argsForAction ? job.argsForAction(index) : {};
  if (args === null || typeof args !== "object" || Array.isArray(args)) {
    throw new TypeError(`argsForAction(${index}) gave no object`);
  }
  return args;
}

/* The text of a function, found by the name `main` whatever its author called it. */
function asSource(action) {
  const text = action.toString();
  if (action.name === "main" && /^(async\s+)?function\b/.test(text)) return text;
  try {
    new Function(`(${text})`);
    return `var main = (${text});`;
  } catch {
    return `var main = ({ ${text} })[${JSON.stringify(action.name)}];`; // a method
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
