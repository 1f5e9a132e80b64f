/*
 * Shows the least an action can be: parameters in, a JSON object out.
 *
 *   edgectl action put hello-js examples/actions/hello.js
 *   edgectl action invoke hello-js -p name Ada
 */
function main(params) {
  const name = params.name || "stranger";
  return { greeting: `Hello, ${name}!` };
}
