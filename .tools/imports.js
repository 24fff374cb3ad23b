// The import rule of src/: the table in src/README.md is the rule, and this holds every import against it.
//   node .tools/imports.js [FOLDER]      lists what is wrong; status 1 where anything is
import { readdirSync, readFileSync } from 'node:fs'
import { isBuiltin } from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

/** Modules of Node through which a program reaches its host: the word `host` in a row allows them. */
const HOST = /^(node:)?(fs|os|path|child_process|worker_threads|net|http|https|tty|readline|stream)(\/|$)/

/** `import … from 'x'`, `export … from 'x'`, `import 'x'`, `import('x')`, `createRequire(…)('x')`. */
const IMPORT =
  /^\s*(?:import|export)\b[^'"`;]*?\bfrom '([^']+)'|^\s*import '([^']+)'|\bimport\('([^']+)'\)|^[^*\n]*\bcreateRequire\([^)]*\)\('([^']+)'\)/gm

/** Rows of the table: room → its layer, and what it may import from outside. */
function readRooms(readme) {
  const rooms = new Map()
  for (const [, layer, room, outside] of readme.matchAll(/^\| (\d+) \| `([^`]+)` \|.*\|([^|]*)\|$/gm)) {
    const [names = '', inside] = outside.split('; of src only')
    rooms.set(room, {
      layer: Number(layer),
      outside: names.split(',').map((word) => word.trim()),
      /** Rooms of src that it may import; undefined: all of lower layers. */
      only: inside && [...inside.matchAll(/`([^`]+)`/g)].map((match) => match[1]),
    })
  }
  return rooms
}

const root = dirname(dirname(fileURLToPath(import.meta.url)))

/** What the names that begin with `#` stand for (`imports` of package.json): a file of src for each condition. */
const aliases = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')).imports
const sourceOf = (target) => target.replace('./dist/src/', '').replace(/\.js$/, '.ts')

const roomOf = (file) => file.split('/')[0]
const packageOf = (specifier) => specifier.split('/', specifier.startsWith('@') ? 2 : 1).join('/')

function importsOf(file, text) {
  return [...text.matchAll(IMPORT)].flatMap((match) => {
    const specifier = match[1] ?? match[2] ?? match[3] ?? match[4]
    const targets = Object.entries(aliases[specifier] ?? {})
    if (targets.length > 0) return targets.map(([when, target]) => ({ specifier, when, file: sourceOf(target) }))
    if (!specifier.startsWith('.')) return { specifier }
    return { specifier, file: join(dirname(file), specifier).replaceAll('\\', '/').replace(/\.js$/, '.ts') }
  })
}

/** What is wrong with one import; undefined if nothing is. */
function fault(rooms, from, { specifier, file }) {
  const room = rooms.get(from)
  if (file !== undefined) {
    const to = roomOf(file)
    if (to === from) return
    if (room.only && !room.only.includes(to)) return `imports ${file}: the row of ${from} does not name ${to}`
    if ((rooms.get(to)?.layer ?? Number.POSITIVE_INFINITY) < room.layer) return
    return `imports ${file}: ${to} is not in a lower layer than ${from}`
  }
  if (HOST.test(specifier)) {
    return room.outside.includes('host') ? undefined : `imports ${specifier}: ${from} does not reach the host`
  }
  if (isBuiltin(specifier) || room.outside.includes(packageOf(specifier))) return
  return `imports ${specifier}: the row of ${from} does not name it`
}

/** Groups of files that import each other, by way of others or directly (Tarjan). */
function circles(graph) {
  const found = []
  const number = new Map()
  const lowest = new Map()
  const stack = []
  const visit = (file) => {
    number.set(file, number.size)
    lowest.set(file, number.get(file))
    stack.push(file)
    for (const next of graph.get(file) ?? []) {
      if (!number.has(next)) visit(next)
      if (stack.includes(next)) lowest.set(file, Math.min(lowest.get(file), lowest.get(next)))
    }
    if (lowest.get(file) !== number.get(file)) return
    const circle = stack.splice(stack.indexOf(file))
    if (circle.length > 1) found.push(circle)
  }
  for (const file of graph.keys()) if (!number.has(file)) visit(file)
  return found
}

/** The file of the library for browsers: nothing that it reaches imports anything from outside of src. */
const BROWSER = 'browser.ts'

/** What the files that a browser loads import from outside, with the imports that lead there. */
function browserFaults(imports) {
  const ways = new Map(imports.has(BROWSER) ? [[BROWSER, BROWSER]] : [])
  const wrong = []
  for (const [file, way] of ways) {
    for (const { specifier, when = 'default', file: next } of imports.get(file) ?? []) {
      if (next === undefined) wrong.push(`${file} imports ${specifier}, for browsers too: ${way}`)
      else if (when === 'default' && !ways.has(next)) ways.set(next, `${way} → ${next}`)
    }
  }
  return wrong
}

/** All that is wrong below `src`, one line each. */
export function wrongImports(src) {
  const rooms = readRooms(readFileSync(join(src, 'README.md'), 'utf8'))
  const wrong = []
  const graph = new Map()
  const all = new Map()
  const files = readdirSync(src, { recursive: true, encoding: 'utf8' }).map((file) => file.replaceAll('\\', '/'))
  for (const file of files.filter((name) => name.endsWith('.ts')).sort()) {
    const from = roomOf(file)
    if (!rooms.has(from)) wrong.push(`${file}: ${from} is not in the table of src/README.md`)
    const imports = importsOf(file, readFileSync(join(src, file), 'utf8'))
    all.set(file, imports)
    graph.set(
      file,
      imports.flatMap((one) => one.file ?? []),
    )
    for (const one of rooms.has(from) ? imports : []) {
      const message = fault(rooms, from, one)
      if (message) wrong.push(`${file} ${message}`)
    }
  }
  wrong.push(...browserFaults(all))
  for (const circle of circles(graph)) wrong.push(`circle: ${circle.join(' → ')}`)
  return wrong
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const src = process.argv[2] ?? join(root, 'src')
  const wrong = wrongImports(src)
  for (const line of wrong) console.error(line)
  process.exitCode = wrong.length > 0 ? 1 : 0
}
