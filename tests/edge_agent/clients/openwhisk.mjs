// Drives a node with the npm client `openwhisk`; run in a folder where it is installed.
// Arguments: API host, key. Prints what it saw, as one JSON document, on stdout.
import openwhisk from 'openwhisk'

const [apihost, apiKey] = process.argv.slice(2)
const ow = openwhisk({ apihost, api_key: apiKey, ignore_certs: true })
const seen = {}
const kind = 'nodejs:default'

async function refusal (promise) {
  try {
    await promise
  } catch (error) {
    // A failed invocation comes as its record, everything else as `{error, code}`.
    const body = error.error.response ? error.error.response.result : error.error
    return { status: error.statusCode, error: body.error }
  }
  return null
}

async function ended (activationId) {
  for (let attempt = 0; attempt < 100; attempt++) {
    try {
      return await ow.activations.get({ name: activationId })
    } catch (error) {
      if (error.statusCode !== 404) throw error
      await new Promise(resolve => setTimeout(resolve, 50))
    }
  }
  throw new Error(`no record of ${activationId}`)
}

const hello = 'function main(a) { return { hello: a.name || "you" } }'
const failing = 'function main() { return { error: "on purpose" } }'

// actions
seen.created = await ow.actions.create({ name: 'hello', action: hello, kind })
seen.again = await refusal(ow.actions.create({ name: 'hello', action: hello, kind }))
seen.updated = await ow.actions.update({
  name: 'hello',
  action: hello,
  kind,
  params: { name: 'params' },
  annotations: { description: 'says hello' },
  limits: { timeout: 5000 }
})
seen.got = await ow.actions.get({ name: 'hello' })
seen.listed = await ow.actions.list({ limit: 10 })
await ow.actions.create({ name: 'failing', action: failing, kind })

// invocations
seen.blocking = await ow.actions.invoke({ name: 'hello', blocking: true })
seen.result = await ow.actions.invoke({
  name: 'hello', blocking: true, result: true, params: { name: 'npm' }
})
seen.failed = await refusal(ow.actions.invoke({ name: 'failing', blocking: true, result: true }))
seen.accepted = await ow.actions.invoke({ name: 'hello' })
seen.record = await ended(seen.accepted.activationId)
seen.activationResult = await ow.activations.result({ name: seen.accepted.activationId })
seen.activationLogs = await ow.activations.logs({ name: seen.accepted.activationId })
seen.activations = await ow.activations.list({ limit: 200 })

// packages
seen.package = await ow.packages.create({
  name: 'p', package: { publish: true, parameters: [{ key: 'name', value: 'package' }] }
})
await ow.actions.create({ name: 'p/hello', action: hello, kind })
seen.packaged = await ow.actions.invoke({ name: 'p/hello', blocking: true, result: true })
seen.packages = await ow.packages.list()
seen.contents = await ow.packages.get({ name: 'p' })

// triggers and rules
seen.trigger = await ow.triggers.create({ name: 't' })
seen.unlinked = await ow.triggers.invoke({ name: 't', params: { name: 'nobody' } })
seen.rule = await ow.rules.create({ name: 'r', action: 'hello', trigger: 't' })
seen.fired = await ow.triggers.invoke({ name: 't', params: { name: 'trigger' } })
const fire = await ended(seen.fired.activationId)
seen.ran = await ended(JSON.parse(fire.logs[0]).activationId)
seen.disabled = await ow.rules.disable({ name: 'r' })
seen.inactive = await ow.rules.get({ name: 'r' })
seen.enabled = await ow.rules.enable({ name: 'r' })
seen.rules = await ow.rules.list()
seen.triggers = await ow.triggers.list()

// API gateway
await ow.actions.create({
  name: 'web',
  action: 'function main(a) { return { hello: a.id || a.__ow_method } }',
  kind,
  annotations: { 'web-export': true }
})
seen.route = await ow.routes.create({
  basepath: '/npm', relpath: '/hello/{id}', operation: 'POST', action: 'web', responsetype: 'json'
})
await ow.routes.create({ basepath: '/npm', relpath: '/plain', operation: 'GET', action: 'web' })
seen.called = await (await fetch(`${seen.route.gwApiUrl}/hello/npm`, { method: 'POST' })).json()
seen.plain = await (await fetch(`${seen.route.gwApiUrl}/plain`)).json()
seen.routes = await ow.routes.list()
seen.oneRoute = await ow.routes.get({ basepath: '/npm' })
await ow.routes.delete({ basepath: '/npm', relpath: '/plain', operation: 'get' })
seen.deletedRoute = await ow.routes.delete({ basepath: '/npm' })
seen.noRoute = await refusal(ow.routes.delete({ basepath: '/npm' }))
seen.noRoutes = await ow.routes.list()
await ow.actions.delete({ name: 'web' })

// namespaces
seen.namespaces = await ow.namespaces.list()

// the end
await ow.rules.delete({ name: 'r' })
await ow.triggers.delete({ name: 't' })
seen.full = await refusal(ow.packages.delete({ name: 'p' }))
await ow.actions.delete({ name: 'p/hello' })
await ow.packages.delete({ name: 'p' })
await ow.actions.delete({ name: 'hello' })
await ow.actions.delete({ name: 'failing' })
seen.gone = await refusal(ow.actions.get({ name: 'hello' }))
seen.left = await Promise.all([
  ow.actions.list(), ow.packages.list(), ow.triggers.list(), ow.rules.list()
])
seen.unauthorized = await refusal(
  openwhisk({ apihost, api_key: `${apiKey}x` }).actions.list()
)

console.log(JSON.stringify(seen))
