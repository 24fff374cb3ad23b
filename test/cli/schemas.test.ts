import assert from 'node:assert/strict'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { gunzipSync } from 'node:zlib'
import { Ajv2020 } from 'ajv/dist/2020.js'
import { commands } from '../../src/cli/commands.ts'
import { schemaOf, schemas } from '../../src/cli/schemas.ts'
import { treeNames } from '../../src/xfsimage/trees.ts'
import { imageWith, items } from '../logprint/items.ts'
import { xfskit, xfskitOk } from '../support/cli.ts'
import { judge } from '../support/judge.ts'
import { repoRoot, tempDir } from '../support/temp.ts'

/**
 * What commands print with --json is a contract: every line is validated against the schema that
 * it names. A property more or less fails here.
 */
const folder = tempDir()
const image = join(folder, 'image')
const host = (name: string): string => join(folder, name)

const ajv = new Ajv2020({ strict: true, allErrors: true })
const validators = new Map(Object.keys(schemas).map((name) => [name, ajv.compile(schemaOf(name) as object)]))

/** Schemas that some output was validated against. */
const seen = new Set<string>()

function validate(name: string, value: unknown): void {
  const valid = validators.get(name)
  assert.ok(valid, `a schema ${name}`)
  assert.ok(valid(value), `${name}: ${ajv.errorsText(valid.errors)} in ${JSON.stringify(value)}`)
  seen.add(name)
  const { records = [] } = value as { readonly records?: readonly { readonly kind: string }[] }
  for (const { kind } of records) seen.add(`${name}: ${kind}`)
}

/** Documents one after the other, or one stream. */
function validateOutput(output: string): void {
  if (output === '') return
  const [first = '', ...rest] = output.trimEnd().split('\n')
  const head = first === '{' ? undefined : (JSON.parse(first) as { schema: string; version: number; plan?: object })
  if (head?.plan) validate('plan', head.plan)
  if (head && Object.keys(head).length === (head.plan ? 3 : 2)) {
    const name = head.schema.replace(/^xfskit\./, '')
    assert.equal(head.version, 1)
    assert.equal(schemas[name]?.kind, 'records', `${name} is declared as a stream`)
    for (const line of rest) validate(name, JSON.parse(line))
    seen.add(name)
    return
  }
  for (const text of output.trimEnd().split(/\n(?=\{)/)) {
    const value = JSON.parse(text) as { schema: string }
    const name = value.schema.replace(/^xfskit\./, '')
    assert.equal(schemas[name]?.kind, 'document', `${name} is declared as a document`)
    validate(name, value)
  }
}

/** A command line with its exit status (0 where there is none). */
type Line = readonly [words: readonly string[], status?: number, input?: string]

const odd = '/d/\\xff'
/** An image whose log has items of every type. */
const logged = imageWith(host('logged'), [items])
/** Damaged images, which differ in what a repair does. */
const REPAIRED = [
  'refcountbt.high',
  'inode.extent',
  'inode.count',
  'inode.reflink',
  'sb.copy',
  'sb.lsn',
  'agfl.range',
  'inode.crc',
  'inode.nlink',
  'dir.twice',
  'dir.parent',
  'attr.value',
  'symlink.block',
  'parent.pointers',
]
/** Commands of db. */
const run = (...commands: string[]): string[] => commands.flatMap((command) => ['-c', command])

/** In order: each may use what those before it have made. */
const lines: readonly Line[] = [
  [['mkfs', '--size', '64m', host('made')]],
  [['mkfs', '-N', '--size', '64m', host('planned')]],
  [['mkfs', '--size', '64m', '--from', host('tree'), host('filled')]],
  [['ls', image, '/', odd]],
  [['ls', '-lR', image]],
  [['ls', image, '/none'], 1],
  [['stat', image, '/d', '/d/link', '/null', odd]],
  [['stat', '-L', image, '/d/link', '/none'], 1],
  [['cat', image, '/d/a', odd]],
  [['cat', image, '/d'], 1],
  [['tree', image]],
  [['find', image, '/d', '-type', 'f']],
  [['du', '-d', '1', image, '/', odd, '/none'], 1],
  [['fiemap', image, '/d/a']],
  [['fiemap', '-a', image, '/d/a']],
  [['fsmap', image]],
  [['fsmap', '--paths', image]],
  [['fsmap', image, '--agno', '1', '--free']],
  [['fsmap', image, '--agno', '9'], 1],
  ...treeNames.map((tree): Line => [['dump', image, tree]]),
  [['dump', image, 'bnobt', '--agno', '9'], 1],
  [['shares', image, '/big']],
  [['shares', image, odd]],
  [['shares', image, '--histogram']],
  [['dump', image, 'bmbt', '--ino', '128', '--fork', 'attr']],
  [['mkdir', image, '/made', '/d', '/no/where'], 4],
  [['mkdir', '-p', '--dry-run', image, '/made/a/b']],
  [['ln', image, '/d/a', '/made/hard']],
  [['ln', '-s', image, odd, '/none', '/made']],
  [['ln', image, '/none', odd, '/d/a', '/made'], 4],
  [['mv', image, '/made/hard', '/none', '/d'], 4],
  [['rm', image, '/d/hard', '/d', '/none'], 4],
  [['touch', '-d', '@5.5', image, '/made/new', '/no/where'], 4],
  [['truncate', image, '10k', '/made/new', '/d'], 4],
  [['chmod', '-R', image, 'u+x', '/made', '/none'], 4],
  [['chown', image, '5', odd, '/none'], 4],
  [['mknod', image, '/made/fifo', 'p']],
  [['mknod', image, '/made/fifo', 'p'], 1],
  [['chattr', image, '+d', '--extsize', '64k', '/made', '/none'], 4],
  [['lsattr', '-R', image, '/made', odd, '/none'], 1],
  [['xattr', 'set', image, odd, 'user.\\xfe', 'v\\xff']],
  [['xattr', 'set', '--dry-run', image, '/d/a', 'user.text', 'text']],
  [['xattr', 'set', image, '/d/a', 'system.posix_acl_access', 'u::rw,u:1000:r,g::r,m::rw,o::-']],
  [['xattr', 'list', image, '/d/a']],
  [['xattr', 'get', image, '/d/a', 'system.posix_acl_access']],
  [['xattr', 'list', image, odd]],
  [['xattr', 'remove', image, odd, 'user.\\xfe']],
  [['xattr', 'remove', image, odd, 'user.\\xfe'], 1],
  [['reflink', image, '/d/a', '/made/clone']],
  [['reflink', '--dry-run', image, odd, '/made/none', '--length', '0']],
  [['reflink', image, '/none', '/made/none'], 1],
  [['reflink', image, '--batch', '-'], 4, `/d/a\t${odd}\n/none\t/made/x\n/d/a\t/made/second\t0\t0\t5\n`],
  [['dedupe', image, '/d/a', '/made/clone']],
  [['write', image, '/made/other'], 0, 'HELLO'],
  [['dedupe', image, '/d/a', '/made/other'], 1],
  [['dedupe', '--dry-run', image, '--batch', '-'], 1, '/d/a\t/made/clone\n/d/a\t/made/other\n/d/a\t/none\n'],
  [['dedupe', '--dry-run', image, '--batch', host('pairs')]],
  [['dedupe', '--dry-run', image, '/d/a', '/made/clone']],
  [['rm', '--dry-run', '-r', image, '/made']],
  [['put', '--dry-run', image, host('tree'), '/made']],
  [['put', image, `${host('tree')}/.`, '/made']],
  [['unshare', image, '/made/clone']],
  [['unshare', '--dry-run', image, odd, '--length', '1']],
  [['fsr', image]],
  [['fsr', image, '/none'], 1],
  [['rm', '-r', image, '/made']],
  [['check', image]],
  [['check', '--format', 'json', host('refcountbt.high')], 1],
  [['check', host('cow.leftover')]],
  [['check', join(folder, 'none')], 3],
  [['check', '--list-problems']],
  [['check', '--explain', 'agf.crc']],
  ...REPAIRED.map((name): Line => [['repair', '-n', host(name)], 1]),
  [['repair', '-n', host('cow.leftover')]],
  [['repair', '--undo', host('undo'), host('refcountbt.high')]],
  [['undo', host('refcountbt.high'), host('undo')]],
  [['repair', host('image.unreadable')], 1],
  [['recover', image]],
  [['recover', '--dry-run', image]],
  [['recover', host('sb.needsrepair')]],
  [['recover', join(folder, 'none')], 3],
  [['info', image]],
  [['get', image, '/d/a', host('got')]],
  [['get', image, '/d', host('got.tar')]],
  [['get', image, '/null', '/none', folder], 1],
  [['io', image, '/d/a', ...run('pread -v 0 4', 'frob', 'fiemap')]],
  [
    [
      'io',
      image,
      '/d/a',
      '/d',
      ...run('stat', 'stat -v', 'stat -r', 'statx -r', 'statx -v', 'statfs', 'bmap', 'bmap -v'),
    ],
  ],
  [['io', image, '/big', ...run('fiemap -v', 'bmap -vp', 'fsmap', 'fsmap -v', 'fsmap -m', 'seek -ar 0', 'seek -d 1g')]],
  [
    [
      'io',
      image,
      '/d/a',
      ...run('inode', 'inode -v 128', 'inode -n 9999', 'lsattr', 'lsattr -a', 'lsproj', 'file', 'label'),
    ],
  ],
  [['io', image, '/d/a', ...run('extsize', 'cowextsize', 'help', 'parent', 'parent -p')]],
  [['io', '--dry-run', image, '/big', ...run('pwrite -b 4k 0 8k', 'pread 0 8k', 'pwrite -C 0 1', 'reflink /d/a')]],
  [['io', image, '/none', ...run('fiemap')], 1],
  [['logprint', image]],
  [['logprint', logged]],
  [['logprint', join(folder, 'none')], 1],
  [['db', 'describe', 'agf']],
  [['db', image, ...run('sb 0', 'print', 'agf 1', 'print seqno', 'describe agi', 'ring', 'help')]],
  [['db', image, ...run('frob')], 1],
  [
    [
      'db',
      image,
      ...run('type', 'daddr', 'inode', 'sb 0', 'addr', 'push agf 0', 'stack', 'ring', 'crc', 'fsblock', 'daddr'),
    ],
  ],
  [
    [
      'db',
      image,
      ...run('path /d', 'ls', 'ls -i', 'ls /', 'inode', 'parent', 'parent /d', 'ncheck', 'hash name', 'hash -d \\xff'),
    ],
  ],
  [
    [
      'db',
      image,
      ...run('info', 'label', 'uuid', 'version', 'timelimit', 'timelimit --compact', 'convert agno 1 agbno 5 fsblock'),
    ],
  ],
  [
    [
      'db',
      image,
      ...run('freesp -ds', 'frag -v', 'fsmap', 'agresv', 'dump_iunlinked', 'agf 0', 'addr bnoroot', 'btdump'),
    ],
  ],
  [['db', image, ...run('path /big', 'bmap', 'bmap -a', 'dblock 0', 'addr')]],
  [['db', '-x', '--dry-run', image, ...run('sb 0', 'crc -r', 'fuzz -d icount ones', 'label new', 'uuid generate')]],
  [['db', image, ...run('inode 99999999999')]],
  [['db', '-x', '--dry-run', image, ...run('sb 0', 'write -d fname "x"', 'fsblock 3', 'type data', 'print')]],
  [['db', host('agi.bucket'), ...run('dump_iunlinked')]],
  [['db', join(folder, 'none')], 1],
  [['info', join(folder, 'none')], 3],
  [['shims', join(folder, 'tools')]],
  [['shims', join(folder, 'taken')], 4],
  [['ls', '--frob', image], 3],
]

/** Commands whose exit status reports what they have found. */
const FINDERS = new Set(['check', 'repair', 'db', 'io'])

/** Commands whose JSON is no contract: other programs' output, or none. */
const WITHOUT = ['completion', 'demo', 'schema']

test('a sample image', () => {
  mkdirSync(host('tree/d'), { recursive: true })
  writeFileSync(host('tree/d/a'), 'hello')
  mkdirSync(host('taken'))
  writeFileSync(host('taken/xfs_db'), 'the tool itself')
  writeFileSync(host('pairs'), '/d/a\t/made/clone\n')
  writeFileSync(Buffer.concat([Buffer.from(`${host('tree/d')}/`), Buffer.of(0xff)]), 'odd')
  xfskitOk(['mkfs', '--size', '300m', '-q', '--from', host('tree'), image])
  xfskitOk(['ln', '-s', image, 'a', '/d/link'])
  xfskitOk(['mknod', image, '/null', 'c', '1', '3'])
  for (const name of [...REPAIRED, 'agi.bucket', 'cow.leftover', 'image.unreadable', 'sb.needsrepair'])
    writeFileSync(host(name), gunzipSync(readFileSync(join(repoRoot(), 'fixtures', name, 'image.gz'))))
  xfskitOk(['write', image, '/big'], { input: 'x'.repeat(1e5) })
  xfskitOk(['reflink', image, '/big', '/clone'])
  xfskitOk(['reflink', image, odd, '/other\\xff'])
})

for (const [words, status = 0, input] of lines) {
  test(`${words.join(' ').replaceAll(folder, '')}`, () => {
    const ran = xfskit([...words, '--json'], input === undefined ? {} : { input })
    assert.equal(ran.status, status, ran.stdout + ran.stderr)
    validateOutput(ran.stdout)
    for (const line of ran.stderr.split('\n')) if (line !== '') validate('message', JSON.parse(line))
    if (status !== 0 && !FINDERS.has(words[0] as string))
      assert.ok(ran.stderr !== '' || /"ok": ?false/.test(ran.stdout), 'a failure is reported')
  })
}

/** The kinds of records that a document may have. */
function kindsOf(name: string): string[] {
  const found: string[] = []
  JSON.stringify(schemaOf(name), (key, value) => {
    if (key === 'kind' && value?.const !== undefined) found.push(value.const)
    return value
  })
  return found
}

test('every schema was used, and every command has a line here', () => {
  assert.deepEqual(
    Object.keys(schemas).filter((name) => !seen.has(name)),
    [],
  )
  const kinds = ['db.command', 'io.command'].flatMap((name) => kindsOf(name).map((kind) => `${name}: ${kind}`))
  assert.deepEqual(
    kinds.filter((kind) => !seen.has(kind)),
    [],
  )
  const used = new Set([...lines.map(([[command]]) => command), ...WITHOUT])
  const missing = commands.map(({ name }) => name).filter((name) => !used.has(name))
  assert.deepEqual(missing, [])
})

after(() => judge(image))
