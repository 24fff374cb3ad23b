import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { chmodSync, mkdirSync, readFileSync, rmSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { xfskit, xfskitOk } from '../support/cli.ts'
import { judge } from '../support/judge.ts'
import { mountImage, skip } from '../support/oracles.ts'
import { tempDir } from '../support/temp.ts'

/**
 * `--dry-run --json` prints a plan, `--apply` does just that, or refuses it. Times and generations
 * are pinned, so that the same work writes the same bytes.
 */
const env = { SOURCE_DATE_EPOCH: '1700000000', DETERMINISTIC_SEED: '1' }
const folder = tempDir()
const original = join(folder, 'original')
let made = 0

interface Document {
  readonly plan: {
    readonly program: string
    readonly command: string
    readonly image: object
    readonly arguments: string[]
  }
  readonly dryRun?: true
}

before(() => {
  mkdirSync(join(folder, 'tree', 'd', 'below'), { recursive: true })
  for (const name of ['a', 'b', 'd/c', 'd/below/e']) writeFileSync(join(folder, 'tree', name), `${name}\n`)
  for (const name of ['one', 'two']) writeFileSync(join(folder, 'tree', name), Buffer.alloc(300_000, 'same'))
  xfskitOk(['mkfs', '--size', '64m', '-q', '--from', join(folder, 'tree'), original])
})

/** A copy with the same modification time, which is part of a plan. */
function copyOf(image: string): string {
  const copy = join(folder, `copy${made++}`)
  assert.equal(spawnSync('cp', ['-p', '--sparse=always', image, copy]).status, 0)
  return copy
}

/** Make a plan. @param words  with the image as `IMAGE` */
function planOf(image: string, words: readonly string[], status = 0): { file: string; head: Document; json: string } {
  const was = readFileSync(image)
  const { status: found, stdout, stderr } = xfskit([...on(image, words), '--dry-run', '--json'], { env })
  assert.equal(found, status, stderr)
  assert.ok(readFileSync(image).equals(was), 'a dry run writes nothing')
  const file = join(folder, `plan${made++}`)
  writeFileSync(file, stdout)
  const text = stdout.startsWith('{\n') ? stdout : (stdout.split('\n')[0] as string)
  return { file, head: JSON.parse(text), json: stdout }
}

const on = (image: string, words: readonly string[]) => words.map((word) => (word === 'IMAGE' ? image : word))

/** The same output, but for the plan and the marks of a dry run. */
function withoutPlan(json: string): unknown[] {
  const bare = (value: unknown): unknown => {
    const { plan: _plan, dryRun: _dryRun, ...rest } = value as Document
    return rest
  }
  if (json.startsWith('{\n')) return [bare(JSON.parse(json))]
  return json
    .trimEnd()
    .split('\n')
    .map((line) => bare(JSON.parse(line)))
}

/** Nothing is written, and it says why. */
function refused(image: string, words: readonly string[], why: RegExp, { status = 1, input = '' } = {}): void {
  const was = readFileSync(image)
  const ran = xfskit(words, { env, input })
  assert.match(ran.stderr, why)
  assert.equal(ran.status, status, ran.stderr)
  assert.equal(ran.stdout, '')
  assert.ok(readFileSync(image).equals(was), 'a refused plan writes nothing')
}

/** Applying does what the dry run said, and writes the bytes that the command itself writes. */
function appliesAsSaid(words: readonly string[], setUp: (image: string) => void = () => {}): string {
  const image = copyOf(original)
  setUp(image)
  const twin = copyOf(image)
  const { file, json, head } = planOf(image, words)
  assert.equal(head.plan.command, words[0])
  const applied = xfskitOk([words[0] as string, '--apply', file, '--json'], { env })
  assert.deepEqual(withoutPlan(applied), withoutPlan(json))
  xfskitOk(on(twin, words), { env })
  assert.ok(readFileSync(image).equals(readFileSync(twin)), 'the bytes are those of the command')
  judge(image)
  refused(image, [words[0] as string, '--apply', file], /was changed: .*the head of the log/)
  return image
}

test('rm', () => {
  const image = appliesAsSaid(['rm', '-rf', 'IMAGE', '/d', '/b', '/none'])
  assert.equal(xfskitOk(['find', image, '/']), '/\n/a\n/one\n/two\n')
})

test('the plan of rm has every path', () => {
  const { json } = planOf(original, ['rm', '-r', 'IMAGE', 'd'])
  const removed = ['/d/below/e', '/d/below', '/d/c', '/d'].map((path) => ({ path }))
  const [document] = JSON.parse(json).done
  const byPath = (a: { path: string }, b: { path: string }) => (a.path < b.path ? -1 : 1)
  assert.deepEqual(document.removed.sort(byPath), removed.sort(byPath))
})

test('dedupe and reflink', () => {
  appliesAsSaid(['dedupe', 'IMAGE', '/one', '/two'])
  const image = appliesAsSaid(['reflink', 'IMAGE', '/one', '/three', '--length', '4k'])
  assert.equal(xfskitOk(['find', image, '/three', '-size', '4096c']), '/three\n')
})

test('repair', () => {
  const damaged = copyOf(original)
  const record = ['startblock 3000', 'blockcount 8', 'refcount 7'].map((field) => `write recs[1].${field}`)
  const write = ['agf 1', 'addr refcntroot', 'write numrecs 1', ...record].flatMap((command) => ['-c', command])
  xfskitOk(['db', '-x', damaged, ...write])
  const twin = copyOf(damaged)
  const { file, json } = planOf(damaged, ['repair', 'IMAGE'], 1)
  const planned = JSON.parse(json)
  const { text, ...rebuild } = planned.actions[0]
  assert.deepEqual(rebuild, { action: 'rebuildBtree', agno: 1, tree: 'refcountbt', records: 0, blocks: 1 })
  assert.equal(text, 'rebuild AG 1 refcountbt: 0 records, 1 block')
  const applied = JSON.parse(xfskitOk(['repair', '--apply', file, '--json'], { env }))
  assert.deepEqual([applied.actions, applied.before], [planned.actions, planned.before])
  xfskitOk(['repair', twin], { env })
  assert.ok(readFileSync(damaged).equals(readFileSync(twin)), 'the bytes are those of the command')
  judge(damaged)
  refused(damaged, ['repair', '--apply', file], /the image was changed/)
})

test('put', () => {
  const tree = join(folder, 'more')
  mkdirSync(join(tree, 'd'), { recursive: true })
  writeFileSync(join(tree, 'd', 'new'), 'new')
  writeFileSync(join(tree, 'a'), 'replaced')
  symlinkSync('a', join(tree, 'link'))
  const image = appliesAsSaid(['put', 'IMAGE', `${tree}/.`, '/'])
  assert.equal(xfskitOk(['cat', image, '/a', '/link', '/d/new']), 'replacedreplacednew')
  const { json } = planOf(original, ['put', 'IMAGE', `${tree}/.`, '/'])
  assert.deepEqual(
    JSON.parse(json).names.map(({ action, path, type, size }: Record<string, unknown>) => [action, path, type, size]),
    [
      ['merge', '/', 'directory', undefined],
      ['replace', '/a', 'regular file', 8],
      ['merge', '/d', 'directory', undefined],
      ['create', '/link', 'symbolic link', undefined],
      ['create', '/d/new', 'regular file', 3],
    ],
  )
  for (const change of [
    () => writeFileSync(join(tree, 'a'), 'Replaced'),
    () => chmodSync(join(tree, 'd', 'new'), 0o600),
    () => writeFileSync(join(tree, 'd', 'newer'), ''),
    () => rmSync(join(tree, 'link')),
  ]) {
    const copy = copyOf(original)
    const { file } = planOf(copy, ['put', 'IMAGE', `${tree}/.`, '/'])
    change()
    refused(copy, ['put', '--apply', file], /more.* was changed since the plan was made/)
  }
})

test('put of an archive: its content counts, not its times', () => {
  const archive = join(folder, 'more.tar')
  assert.equal(spawnSync('tar', ['-cf', archive, '-C', folder, 'tree']).status, 0)
  const image = copyOf(original)
  const { file } = planOf(image, ['put', 'IMAGE', archive, '/'])
  const bytes = readFileSync(archive)
  rmSync(archive)
  writeFileSync(archive, bytes)
  utimesSync(archive, 5, 5)
  const other = copyOf(image)
  xfskitOk(['put', '--apply', file], { env })
  assert.equal(xfskitOk(['cat', image, '/tree/a']), 'a\n')
  judge(image)
  const again = planOf(other, ['put', 'IMAGE', archive, '/'])
  bytes[600] = (bytes[600] as number) ^ 1
  writeFileSync(archive, bytes)
  refused(other, ['put', '--apply', again.file], /more.tar was changed since/)
})

test('a batch, and a list that was changed', () => {
  const list = join(folder, 'list')
  writeFileSync(list, '/one\t/two\n/a\t/none\n')
  const image = copyOf(original)
  const { file, json } = planOf(image, ['dedupe', 'IMAGE', '--batch', list], 1)
  writeFileSync(list, '/one\t/two\n/b\t/none\n')
  refused(image, ['dedupe', '--apply', file], /list was changed since/)
  const again = planOf(image, ['dedupe', 'IMAGE', '--batch', list], 1)
  const ran = xfskit(['dedupe', '--apply', again.file, '--json'], { env })
  assert.equal(ran.status, 4, 'one of the pairs')
  assert.equal(withoutPlan(ran.stdout).length, withoutPlan(json).length)
  assert.deepEqual(withoutPlan(ran.stdout), withoutPlan(again.json))
  judge(image)
})

test('a list on standard input gives no plan', () => {
  const ran = xfskit(['dedupe', original, '--batch', '-', '--dry-run', '--json'], { input: '/one\t/two\n' })
  assert.equal(ran.status, 0, ran.stderr)
  assert.equal(Object.keys(JSON.parse(ran.stdout.split('\n')[0] as string)).length, 2)
})

test('a plan on standard input, a changed copy', () => {
  const image = copyOf(original)
  const { file } = planOf(image, ['rm', 'IMAGE', '/a'])
  const output = join(folder, 'output')
  const was = readFileSync(image)
  xfskitOk(['rm', '--apply', '-', '--output', output], { env, input: readFileSync(file) })
  assert.ok(readFileSync(image).equals(was))
  assert.equal(xfskit(['stat', output, '/a']).status, 1)
  judge(output)
  xfskitOk(['rm', '--apply', file, '--wait=1'], { env })
  assert.ok(readFileSync(image).equals(readFileSync(output)))
})

test('what changed the image is seen', () => {
  const changes: readonly (readonly [change: (image: string) => void, why: RegExp])[] = [
    [(image) => xfskitOk(['touch', image, '/b']), /the head of the log/],
    [(image) => xfskitOk(['db', '-x', image, '-c', 'agf 2', '-c', 'write flcount 7']), /AG headers/],
    [(image) => xfskitOk(['db', '-x', image, '-c', 'sb 0', '-c', 'write fname "x"']), /the superblock/],
    [(image) => xfskitOk(['db', '-x', image, '-c', 'inode 128', '-c', 'write core.mode 0']), /modification time/],
    [(image) => xfskitOk(['mkfs', '-f', '-q', image]), /another filesystem: the UUID/],
  ]
  for (const [change, why] of changes) {
    const image = copyOf(original)
    const { file } = planOf(image, ['rm', 'IMAGE', '/a'])
    change(image)
    refused(image, ['rm', '--apply', file], why)
  }
})

test('a change by the kernel is seen, though the time of the file is as before', { skip: skip.kernel }, () => {
  const image = copyOf(original)
  utimesSync(image, 1_600_000_000, 1_600_000_000)
  const { file } = planOf(image, ['rm', 'IMAGE', '/a'])
  mountImage(image, (mounted) => writeFileSync(join(mounted, 'new'), 'new'))
  utimesSync(image, 1_600_000_000, 1_600_000_000)
  refused(image, ['rm', '--apply', file], /the head of the log/)
})

test('only a plan of this command and version, without further operands', () => {
  const { file, head } = planOf(original, ['rm', 'IMAGE', '/a'])
  const saved = (name: string, value: unknown): string => {
    const path = join(folder, name)
    writeFileSync(path, typeof value === 'string' ? value : JSON.stringify(value))
    return path
  }
  refused(original, ['dedupe', '--apply', file], /a plan of rm, not of dedupe/)
  const { plan } = head
  refused(original, ['rm', '--apply', saved('other', { plan: { ...plan, program: 'xfskit 9' } })], /a plan of xfskit 9/)
  for (const bad of [
    '',
    '{}',
    'null',
    '[]',
    '{"plan":1}',
    '{"plan":null}',
    { plan: { ...plan, image: 1 } },
    { plan: { ...plan, arguments: [1] } },
  ])
    refused(original, ['rm', '--apply', saved('bad', bad)], /has no plan/)
  refused(original, ['rm', '--apply', file, original, '/b'], /all but --output and --wait/, { status: 3 })
  refused(original, ['rm', '--apply', join(folder, 'none')], /cannot read/, { status: 3 })
  refused(original, ['chmod', '--apply', file], /unknown option --apply/, { status: 3 })
})

after(() => judge(original))
