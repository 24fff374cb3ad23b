import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { closeSync, existsSync, mkdtempSync, openSync, readFileSync, readSync, rmSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { native } from '../../src/device/native.ts'
import { xfskit, xfskitOk, xfskitRecords } from '../support/cli.ts'
import { judge } from '../support/judge.ts'
import { mountImage, skip } from '../support/oracles.ts'
import { tempDir } from '../support/temp.ts'

/** Files of up to 2^63 − 1 bytes: every size and offset is read and printed exactly. */

const MOST = '9223372036854775807'
const LAST_BLOCK = '9223372036854771712'
/** An odd size that no Number represents. */
const ODD = '9007199254740993'

let image = ''

before(() => {
  image = join(tempDir(), 'largest')
  xfskitOk(['mkfs', '-q', '--size', '300m', image])
  xfskitOk([
    'io',
    '-f',
    image,
    '/max',
    '-c',
    'pwrite -q -S 0x58 9223372036854775806 1',
    '-c',
    `pwrite -q -S 7 ${2n ** 60n} 10`,
  ])
  xfskitOk(['write', image, '/odd', '-', '--offset', '9007199254740990'], { input: 'abc' })
  xfskitOk(['touch', image, '/small'])
})

after(() => judge(image, { kernel: false }))

test('ls, stat, find, tree, du, fiemap: text and JSON', () => {
  assert.match(xfskitOk(['ls', '-l', image, '/max']), new RegExp(` ${MOST} `))
  const rows = xfskitRecords<{ path: string; size: unknown }>(['ls', image, '/'])
  assert.deepEqual(Object.fromEntries(rows.map(({ path, size }) => [path, size])), {
    '/max': MOST,
    '/odd': ODD,
    '/small': 0,
  })
  assert.match(xfskitOk(['stat', image, '/max']), new RegExp(`size +${MOST} bytes`))
  assert.equal(JSON.parse(xfskitOk(['stat', '--json', image, '/odd'])).size, ODD)
  assert.match(xfskitOk(['ls', '--csv', image, '/odd']), new RegExp(`,${ODD},`))
  const found = (test: string): string => xfskitOk(['find', image, '/', '-size', test])
  assert.equal(found(`${MOST}c`), '/max\n')
  assert.equal(found(`-${MOST}c`).includes('/max'), false)
  assert.equal(found(`${ODD}c`), '/odd\n')
  assert.equal(found('9007199254740992c'), '')
  assert.match(xfskitOk(['tree', '--size', image]), new RegExp(`max  ${MOST}`))
  assert.match(xfskitOk(['tree', '--json', image]), new RegExp(`"size":"${MOST}"`))
  assert.match(xfskitOk(['du', '--json', image, '/']), /"size":"9232379236109516800"/)
  assert.match(xfskitOk(['fiemap', image, '/max']), new RegExp(`^ *${LAST_BLOCK} +4096 `, 'm'))
  assert.match(xfskitOk(['fiemap', '--json', image, '/max']), new RegExp(`"offset":"${LAST_BLOCK}","length":4096`))
})

test('truncate, write: sizes as words, up to the last', () => {
  const sizeAfter = (...args: string[]): string => {
    xfskitOk(['truncate', image, ...args, '/small'])
    return String(JSON.parse(xfskitOk(['stat', '--json', image, '/small'])).size)
  }
  assert.equal(sizeAfter(MOST), MOST)
  assert.equal(sizeAfter('4611686018427387905'), '4611686018427387905')
  assert.equal(sizeAfter('+4611686018427387902'), MOST)
  assert.equal(sizeAfter('7e'), String(7n * 2n ** 60n))
  assert.equal(sizeAfter('0x7fffffffffffffff'), MOST)
  for (const size of ['8e', '9223372036854775808', '99999999999999999999']) {
    const { status, stderr } = xfskit(['truncate', image, size, '/small'])
    assert.equal(status, 3, size)
    assert.match(stderr, /too large/)
  }
  assert.equal(xfskit(['truncate', image, '+1', '/small']).status, 1)
  assert.equal(sizeAfter('0'), '0')
  const { status, stderr } = xfskit(['write', image, '/small', '--offset', '9223372036854775805'], { input: 'abc' })
  assert.equal(status, 1)
  assert.match(stderr, /exceed the maximum file size/)
  xfskitOk(['write', image, '/small', '--offset', '9223372036854775805'], { input: 'ab' })
  assert.equal(JSON.parse(xfskitOk(['stat', '--json', image, '/small'])).size, MOST)
  assert.match(xfskitOk(['cat', '--json', image, '/small']), new RegExp(`"offset":"${LAST_BLOCK}","length":4095`))
  xfskitOk(['truncate', image, '0', '/small'])
})

test('reflink, dedupe, unshare: complete files, ranges, and from a list', () => {
  assert.match(xfskitOk(['reflink', image, '/max', '/clone']), new RegExp(`shared ${MOST} bytes in 2 extents`))
  assert.match(
    xfskitOk(['reflink', image, '/max', '/part', '--src-offset', LAST_BLOCK, '--dst-offset', LAST_BLOCK]),
    /4095/,
  )
  assert.match(xfskitOk(['dedupe', image, '/max', '/clone']), new RegExp(`deduped ${MOST} bytes`))
  const pair = { src: '/max', dst: '/part', srcOffset: LAST_BLOCK, dstOffset: LAST_BLOCK, length: 4095 }
  const list = `${JSON.stringify(pair)}\n/max\t/part\t${LAST_BLOCK}\t${LAST_BLOCK}\t4095\n`
  const results = xfskitRecords(['dedupe', image, '--batch', '-'], { input: list })
  assert.deepEqual(
    results.map((result) => result['bytes']),
    [4095, 4095],
  )
  assert.equal(results[1]?.['srcOffset'], LAST_BLOCK)
  const rounded = `{"src":"/max","dst":"/part","srcOffset":${LAST_BLOCK}}\n`
  assert.match(xfskit(['dedupe', image, '--batch', '-'], { input: rounded }).stderr, /must be a string/)
  assert.match(xfskitOk(['unshare', image, '/part', '--offset', LAST_BLOCK, '--length', '4095']), /^1 block copied/)
  xfskitOk(['rm', image, '/clone', '/part'])
})

test('the kernel reads what was written', { skip: skip.kernel }, () => {
  mountImage(image, (root) => {
    assert.equal(String(statSync(join(root, 'max'), { bigint: true }).size), MOST)
    const fd = openSync(join(root, 'max'), 'r')
    const byte = Buffer.alloc(2)
    assert.equal(readSync(fd, byte, 0, 1, (BigInt(MOST) - 1n) as unknown as number), 1)
    assert.equal(byte[0], 0x58)
    closeSync(fd)
  })
})

/** The content of a file, without its holes. */
const content = (path: string): unknown =>
  xfskitRecords(['cat', image, path]).map(({ offset, base64 }) => [offset, base64])

test('into an archive and back; GNU tar sees the same size', () => {
  const archive = join(tempDir(), 'largest.tar')
  xfskitOk(['get', image, '/max', '/odd', '--tar', archive])
  const text = readFileSync(archive).toString('latin1')
  for (const size of [MOST, ODD]) assert.match(text, new RegExp(`GNU.sparse.realsize=${size}\\n`))
  assert.match(
    execFileSync('tar', ['--numeric-owner', '-tvf', archive], { encoding: 'utf8' }),
    new RegExp(` ${MOST} .* max`),
  )
  xfskitOk(['mkdir', image, '/back'])
  xfskitOk(['put', image, archive, '/back'])
  for (const name of ['max', 'odd']) {
    assert.equal(JSON.parse(xfskitOk(['stat', '--json', image, `/back/${name}`])).size, name === 'max' ? MOST : ODD)
    assert.deepEqual(content(`/back/${name}`), content(`/${name}`))
  }
  xfskitOk(['rm', '-r', image, '/back'])
})

// tmpfs has files of any size; most other filesystems have a lower maximum.
const hostWithLargeFiles = native() && existsSync('/dev/shm') ? false : 'no host files of that size'

test('to files of the host and back', { skip: hostWithLargeFiles }, () => {
  const folder = mkdtempSync('/dev/shm/xfskit-test-')
  try {
    xfskitOk(['get', image, '/max', '/odd', folder])
    assert.equal(String(statSync(join(folder, 'max'), { bigint: true }).size), MOST)
    assert.equal(String(statSync(join(folder, 'odd'), { bigint: true }).size), ODD)
    xfskitOk(['mkdir', image, '/again'])
    xfskitOk(['put', image, join(folder, 'max'), join(folder, 'odd'), '/again'])
    for (const name of ['max', 'odd']) {
      assert.equal(JSON.parse(xfskitOk(['stat', '--json', image, `/again/${name}`])).size, name === 'max' ? MOST : ODD)
      assert.deepEqual(content(`/again/${name}`), content(`/${name}`))
    }
    xfskitOk(['rm', '-r', image, '/again'])
  } finally {
    rmSync(folder, { recursive: true })
  }
})
