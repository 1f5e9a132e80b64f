/* Runs one Node.js action: the far end of `process.py`.
 *
 * With `concurrency` in the init several runs go on at once: see `sandbox/many.py`.
 *
 * Requests are JSON lines on fd 4, the init request first; answers are lines on fd 3:
 * `+` (ok) or `-`, then JSON. Argument 1 is the work folder. Answers are written
 * synchronously; requests are read by the event loop, so that what an action has left
 * running goes on between two activations. Nothing is required before it is needed.
 *
 * How code is evaluated and what is said of its failures are those of the OpenWhisk
 * runtime: rows C37-C42 of the contract.
 */
'use strict'

const fs = require('fs')
const path = require('path')
const vm = require('vm')

const ANSWERS = 3
const REQUESTS = 4
const NEWLINE = 10
/* A launcher that nobody has asked for so long stands ready for later. */
const REST_MS = 50
const NO_CODE = 'Missing main/no code to execute.'
const NO_RESULT = 'The action did not return a dictionary or array.'
const NO_ENTRY = 'Zipped actions must contain either package.json or index.js at the root.'
const UNSUPPORTED =
  'There was an error uncompressing the action archive. The file type is unsupported.'

const folder = process.argv[2]

class Refused extends Error {}

function answer (status, text) {
  const line = Buffer.from(status + text + '\n')
  let sent = 0
  while (sent < line.length) sent += fs.writeSync(ANSWERS, line, sent)
}

function answerError (text, tag = '') {
  answer('-' + tag, JSON.stringify({ error: text }))
}

// Init

function putEnvironment (variables) {
  for (const [name, value] of Object.entries(variables)) {
    process.env[name] = typeof value === 'object' ? asText(value) : value
  }
}

function asText (value) {
  return value === null ? '' : JSON.stringify(value)
}

function load (request) {
  if (!request.code || !request.main) throw new Refused(NO_CODE)
  return request.binary ? loadArchive(request) : loadSource(request)
}

/* The code is a function's body; where no `main` is in it, the exports are asked. */
function loadSource ({ code, main }) {
  const filename = path.join(folder, 'index.js')
  const own = require('module').createRequire(filename)
  const module = { exports: {}, id: '.', filename, loaded: false, require: own }
  const tail = `
;try { return ${main} } catch (e) {
  if (e.name !== 'ReferenceError') throw e
  return module.exports.${main} || exports.${main}
}`
  const names = ['exports', 'require', 'module', '__filename', '__dirname']
  const body = compile(code + tail, names, filename)
  const found = body.call(module.exports, module.exports, own, module, filename, folder)
  return assertFunction(found, main)
}

/* Node.js 18 has no such loader; a function made there imports as this file does. */
function compile (code, names, filename) {
  const loader = vm.constants && vm.constants.USE_MAIN_CONTEXT_DEFAULT_LOADER
  if (!loader) return new Function(...names, `${code}\n//# sourceURL=${filename}`)
  const options = { filename, importModuleDynamically: loader }
  return vm.compileFunction(code, names, options)
}

function assertFunction (found, name) {
  if (typeof found === 'function') return found
  throw new Refused(`Action entrypoint '${name}' is not a function.`)
}

/* `main` is an export of the package, or of the file before its dot. */
function loadArchive ({ code, main }) {
  unpack(Buffer.from(code, 'base64'))
  const parts = main.split('.')
  const file = parts.length > 1 ? parts.shift() : undefined
  if (!fs.existsSync('package.json') && !fs.existsSync('index.js')) {
    throw new Refused(NO_ENTRY)
  }
  const own = require('module').createRequire(path.join(folder, 'index.js'))
  const loaded = own(file === undefined ? folder : path.join(folder, file))
  return assertFunction(parts.reduce((from, key) => from && from[key], loaded), main)
}

function unpack (archive) {
  if (archive.length > 3 && archive.readUInt16BE(0) === 0x504b) return unzip(archive)
  if (archive.length > 2 && archive.readUInt16BE(0) === 0x1f8b) return untar(archive)
  throw new Refused(UNSUPPORTED)
}

function untar (archive) {
  const options = { input: archive, stdio: ['pipe', 'ignore', 'inherit'] }
  const flags = ['-xzf', '-', '--no-same-owner', '--no-same-permissions']
  try {
    require('child_process').execFileSync('tar', flags, options)
  } catch (error) {
    const large = error.signal === 'SIGXFSZ' && 'A file in it is too large.'
    const why = large || error.message
    throw new Refused(`There was an error uncompressing the action archive. ${why}`)
  }
}

/* A small reader, because `unzip` is not on every system. */
function unzip (archive) {
  const zlib = require('zlib')
  for (const entry of entries(archive)) {
    const target = inside(entry.name)
    if (entry.name.endsWith('/')) {
      fs.mkdirSync(target, { recursive: true })
      continue
    }
    fs.mkdirSync(path.dirname(target), { recursive: true })
    const data = entry.deflated ? zlib.inflateRawSync(entry.data) : entry.data
    if (entry.link) fs.symlinkSync(linkInside(target, data.toString()), target)
    else fs.writeFileSync(target, data, { mode: entry.executable ? 0o755 : 0o644 })
  }
}

function inside (name) {
  const target = path.resolve(folder, name)
  if (!within(target) || name.includes('\\')) {
    throw new Refused(`The action archive has a path outside the action: ${name}`)
  }
  return target
}

/* What a link leads to goes by where its folder really is, and not back over another
 * link: `l/../x` is beside what `l` points to. So each link stays inside, and with it
 * whatever is written through one. */
function linkInside (from, target) {
  const parts = target.split('/')
  const down = parts.findIndex(part => !['', '.', '..'].includes(part))
  const back = down >= 0 && parts.includes('..', down)
  const folderOfLink = fs.realpathSync(path.dirname(from))
  const meant = path.resolve(folderOfLink, target)
  if (!back && within(meant, fs.realpathSync(folder))) return target
  throw new Refused(`The action archive has a link out of the action: ${target}`)
}

function within (target, top = folder) {
  return target === top || target.startsWith(top + path.sep)
}

function * entries (zip) {
  const end = zip.lastIndexOf(Buffer.from('PK\x05\x06', 'latin1'))
  if (end < 0) throw new Refused(UNSUPPORTED)
  let at = zip.readUInt32LE(end + 16)
  for (let left = zip.readUInt16LE(end + 10); left > 0; left--) {
    const lengths = [28, 30, 32].map(offset => zip.readUInt16LE(at + offset))
    const mode = zip.readUInt32LE(at + 38) >>> 16
    const start = zip.readUInt32LE(at + 42)
    const data = start + 30 + zip.readUInt16LE(start + 26) + zip.readUInt16LE(start + 28)
    yield {
      name: zip.toString('utf8', at + 46, at + 46 + lengths[0]),
      deflated: zip.readUInt16LE(at + 10) !== 0,
      data: zip.subarray(data, data + zip.readUInt32LE(at + 20)),
      link: (mode & 0o170000) === 0o120000,
      executable: (mode & 0o111) !== 0
    }
    at += 46 + lengths[0] + lengths[1] + lengths[2]
  }
}

function initialise (request) {
  try {
    putEnvironment(request.env)
    main = load(request)
  } catch (error) {
    const text = error instanceof Refused ? error.message : (error && error.stack) || error
    answerError(`Initialization has failed due to: ${text}`)
    process.exit(0)
  }
  if (request.concurrency > 1) many = new Many()
  answer('+', many === null ? '{"OK":true}' : '{"OK":true,"concurrent":true}')
}

// Run

function run (request, tag = '') {
  const { value, ...context } = request
  for (const key in context) {
    if (typeof context[key] === 'string') {
      process.env['__OW_' + key.toUpperCase()] = context[key]
    }
  }
  let result
  try {
    result = main(value === undefined ? {} : value)
  } catch (error) {
    console.error(error)
    answerError(`An error has occurred: ${error}`, tag)
    return
  }
  if (isThenable(result)) {
    Promise.resolve(result).then(
      value => report(value, tag),
      reason => reportRejection(reason, tag)
    )
  } else report(result, tag)
}

function isThenable (value) {
  return value !== null && typeof value === 'object' && typeof value.then === 'function'
}

function report (result, tag) {
  if (result === undefined) result = {}
  if (result === null || typeof result !== 'object') return answerError(NO_RESULT, tag)
  let text
  try {
    text = JSON.stringify(result)
  } catch (error) {
    const why = `The action did not return a result that is JSON: ${error.message}`
    return answerError(why, tag)
  }
  if (text === undefined) answerError(NO_RESULT, tag)
  else answer('+' + tag, text)
}

function reportRejection (reason, tag) {
  report({ error: reason ? serialised(reason, new Set()) : {} }, tag)
}

/* As the serialize-error package does it: own properties, then what errors hide. */
function serialised (value, seen) {
  if (typeof value === 'function') return `[Function: ${value.name || 'anonymous'}]`
  if (value === null || typeof value !== 'object') return value
  if (seen.has(value)) return '[Circular]'
  if (typeof value.toJSON === 'function') return value.toJSON()
  seen = new Set(seen).add(value)
  const plain = Array.isArray(value) ? [] : {}
  for (const [key, item] of Object.entries(value)) {
    if (typeof item !== 'function') plain[key] = serialised(item, seen)
  }
  for (const key of ['name', 'message', 'stack', 'code']) {
    if (typeof value[key] === 'string') plain[key] = value[key]
  }
  return plain
}

// Requests

/* Runs side by side: each is a context, and what it prints goes with its tag. */
class Many {
  constructor () {
    const { AsyncLocalStorage } = require('async_hooks')
    this.current = new AsyncLocalStorage()
    this.rest = Buffer.alloc(0)
    this.tell(process.stdout, 'o')
    this.tell(process.stderr, 'e')
  }

  tell (stream, sign) {
    const write = stream.write.bind(stream)
    stream.write = (chunk, encoding, done) => {
      const tag = this.current.getStore()
      if (tag === undefined) return write(chunk, encoding, done)
      answer(sign + tag, JSON.stringify(String(chunk)))
      const after = typeof encoding === 'function' ? encoding : done
      if (after) process.nextTick(after)
      return true
    }
  }

  onData (chunk) {
    const lines = Buffer.concat([this.rest, chunk])
    let begin = 0
    for (let end; (end = lines.indexOf(NEWLINE, begin)) >= 0; begin = end + 1) {
      this.begin(lines.subarray(begin, end))
    }
    this.rest = lines.subarray(begin)
  }

  begin (line) {
    const space = line.indexOf(' ')
    const tag = line.toString('latin1', 0, space) + ' '
    this.current.run(tag, () => run(JSON.parse(line.toString('utf8', space + 1)), tag))
  }
}

let main = null
let many = null
let parts = []

function onData (chunk) {
  if (many !== null) return many.onData(chunk)
  if (chunk[chunk.length - 1] !== NEWLINE) {
    parts.push(chunk)
    return
  }
  const line = parts.length === 0 ? chunk : Buffer.concat([...parts, chunk])
  parts = []
  const request = JSON.parse(line.toString())
  if (main === null) initialise(request)
  else run(request)
}

/* What a first activation would pay for: the compiler, the loader, the streams. */
function warm () {
  const code = 'async function main (args) { return args }'
  loadSource({ code, main: 'main' })({ warm: JSON.stringify(process.stdout.fd) })
  return process.stderr.fd
}

process.chdir(folder)
process.argv.splice(1)
// Loading `net` takes longer than the rest: the agent need not wait for it.
answer('+', '{"OK":true}')
const { Socket } = require('net')
const warming = setTimeout(warm, REST_MS)
const requests = new Socket({ fd: REQUESTS, readable: true, writable: false })
requests.once('data', () => clearTimeout(warming))
requests.on('data', onData)
requests.on('end', () => process.exit(0))
