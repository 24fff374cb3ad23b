import assert from 'node:assert/strict'
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { test } from 'node:test'

/** The check is a plain script. */
const { wrongImports } = (await import(join(process.cwd(), '.tools/imports.js'))) as {
  wrongImports: (src: string) => string[]
}

interface Room {
  readonly name: string
  readonly layer: number
}

const README = 'src/README.md'
const rooms: Room[] = [...readFileSync(README, 'utf8').matchAll(/^\| (\d+) \| `([^`]+)` \|/gm)].map(
  ([, layer, name]) => ({ layer: Number(layer), name: name as string }),
)
/** A file of the room. Some rooms are a single file. */
const fileOf = ({ name }: Room): string => (name.endsWith('.ts') ? name : `${name}/some.ts`)

/** The result of the check for a tree of only these files. */
function judge(files: Record<string, string>): string[] {
  const src = mkdtempSync(join(tmpdir(), 'xfskit-imports-'))
  try {
    cpSync(README, join(src, 'README.md'))
    for (const [file, text] of Object.entries(files)) {
      mkdirSync(dirname(join(src, file)), { recursive: true })
      writeFileSync(join(src, file), text)
    }
    return wrongImports(src)
  } finally {
    rmSync(src, { recursive: true })
  }
}

const importing = (from: Room, to: Room): string =>
  `import { x } from '${from.name.endsWith('.ts') ? './' : '../'}${fileOf(to)}'\n`

test('every import of src keeps the rule', () => {
  assert.deepEqual(wrongImports('src'), [])
})

test('an import from a higher layer, or from another room of the same one, is wrong in every room', () => {
  assert.ok(rooms.length > 15)
  for (const from of rooms) {
    if (from.name === 'cli') continue
    for (const to of rooms) {
      if (to === from) continue
      const wrong = judge({ [fileOf(from)]: importing(from, to) })
      const allowed = to.layer < from.layer
      assert.equal(wrong.length, allowed ? 0 : 1, `${from.name} imports ${to.name}: ${wrong}`)
      if (!allowed) assert.match(wrong[0] as string, /is not in a lower layer than/)
    }
  }
})

test('the command line imports the facade, and below it only what has no I/O', () => {
  const cli = rooms.find(({ name }) => name === 'cli') as Room
  for (const to of rooms) {
    if (to === cli) continue
    const wrong = judge({ [fileOf(cli)]: importing(cli, to) })
    const allowed = ['xfsimage', 'format', 'util', 'errors.ts'].includes(to.name)
    assert.deepEqual(
      wrong,
      allowed ? [] : [`cli/some.ts imports ${fileOf(to)}: the row of cli does not name ${to.name}`],
    )
  }
})

test('what the library for browsers reaches imports nothing from outside', () => {
  const browser = "export { a } from './util/a.ts'\n"
  const wrong = (text: string): string[] => judge({ 'browser.ts': browser, 'util/a.ts': text, 'util/b.ts': text })
  assert.deepEqual(wrong("import { b } from './c.ts'\n"), [])
  assert.deepEqual(wrong("import { crc32 } from 'node:zlib'\n"), [
    'util/a.ts imports node:zlib, for browsers too: browser.ts → util/a.ts',
  ])
  // In Node it is another file.
  assert.deepEqual(wrong("import { isZero } from '#native'\n"), [])
})

test('only the rooms whose rows permit it access the host, or use a library', () => {
  const users = (specifier: string): string[] =>
    rooms.filter((room) => judge({ [fileOf(room)]: `import x from '${specifier}'\n` }).length === 0).map((r) => r.name)
  assert.deepEqual(users('node:fs'), ['device', 'transfer', 'xfsimage', 'worker', 'cli'])
  assert.deepEqual(users('node:fs/promises'), ['device', 'transfer', 'xfsimage', 'worker', 'cli'])
  assert.deepEqual(users('yargs/helpers'), ['cli'])
  assert.deepEqual(users('tar/header'), ['transfer'])
  assert.deepEqual(users('left-pad'), [])
  assert.deepEqual(
    users('node:zlib'),
    rooms.map(({ name }) => name).filter((name) => name !== 'browser.ts'),
  )
})

test('circles are wrong, also of types, of loads when needed, and over three files', () => {
  assert.match(
    judge({
      'util/a.ts': "import type { B } from './b.ts'\n",
      'util/b.ts': "export { c } from './c.ts'\n",
      'util/c.ts': "const a = () => import('./a.ts')\n",
    }).join(),
    /^circle: util\/\w\.ts → util\/\w\.ts → util\/\w\.ts$/,
  )
})

test('a room that the table does not have is wrong', () => {
  assert.deepEqual(judge({ 'attic/a.ts': '' }), ['attic/a.ts: attic is not in the table of src/README.md'])
})
