import assert from 'node:assert/strict'
import { test } from 'node:test'
import { getopt, parseBytes, parseCount, parseSize, takeCommon, takeOption } from '../../src/cli/arguments.ts'
import { UsageError } from '../../src/cli/command.ts'

test('sizes as mkfs.xfs reads them', () => {
  const cases: readonly (readonly [string, number])[] = [
    ['0', 0], ['4096', 4096], ['1k', 1024], ['1K', 1024], ['3m', 3 * 2 ** 20], ['2g', 2 ** 31], ['1t', 2 ** 40], ['1p', 2 ** 50],
    ['8s', 4096], ['2b', 8192], ['0x10', 16], ['0x1fk', 31 * 1024], ['0x1b', 27], ['0x1e', 30], ['010', 8], [' 5 ', 5],
  ] // biome-ignore format: a table
  for (const [text, bytes] of cases) assert.equal(parseSize(text), bytes, text)
  assert.equal(parseSize('2b', { block: 1024 }), 2048)
  assert.equal(parseSize('2s', { sector: 4096 }), 8192)
  for (const text of [
    '',
    'k',
    '-1',
    '1.5k',
    '1kb',
    '09',
    '9007199254740993',
    '1e',
    '8e',
    '99999999t',
    'x',
    '1 k',
    '0x',
    'NaN',
  ])
    assert.throws(() => parseSize(text), UsageError, text)
})

test('sizes and places in a file: every digit up to 2^63 - 1', () => {
  const cases: readonly (readonly [string, number | bigint])[] = [
    ['9007199254740991', 9007199254740991], ['9007199254740993', 9007199254740993n], ['1e', 2n ** 60n], ['7e', 7n * 2n ** 60n],
    ['9223372036854771712', 2n ** 63n - 4096n], ['9223372036854775807', 2n ** 63n - 1n], ['0x7fffffffffffffff', 2n ** 63n - 1n],
  ] // biome-ignore format: a table
  for (const [text, bytes] of cases) assert.equal(parseBytes(text), bytes, text)
  for (const text of ['8e', '9223372036854775808', '99999999t', '0x8000000000000000', '-1'])
    assert.throws(() => parseBytes(text), UsageError, text)
})

test('counts', () => {
  assert.equal(parseCount('12', 'agno'), 12)
  assert.equal(parseCount('0xff', 'agno'), 255)
  for (const text of ['', '-1', '1.5', 'a', '1e3', '99999999999999999999'])
    assert.throws(() => parseCount(text, 'agno'), UsageError, text)
  assert.throws(() => parseCount('0', 'partition', 1), UsageError)
})

test('getopt: joined letters and values, --, options after operands', () => {
  const { options, operands } = getopt(['-fd', 'size=1g', 'image', '-l/dev/x', '-q', '--', '-n'], 'fd:l:qn')
  assert.deepEqual(
    options.map(({ letter, value }) => [letter, value]),
    [
      ['f', ''],
      ['d', 'size=1g'],
      ['l', '/dev/x'],
      ['q', ''],
    ],
  )
  assert.deepEqual(operands, ['image', '-n'])
  assert.deepEqual(getopt(['-'], 'x').operands, ['-'])
  assert.throws(() => getopt(['-z'], 'fd:'), /invalid option -- 'z'/)
  assert.throws(() => getopt(['-:'], 'fd:'), UsageError)
  assert.throws(() => getopt(['-d'], 'fd:'), /requires an argument/)
})

test('our own options together with those of a reference tool', () => {
  assert.deepEqual(takeCommon(['-f', '--json', 'x', '--no-color', '--', '--json']), {
    common: { json: true, color: false },
    rest: ['-f', 'x', '--', '--json'],
  })
  assert.deepEqual(takeOption(['a', '--size', '1g', '--size=2g', 'b'], '--size'), { value: '2g', rest: ['a', 'b'] })
  assert.deepEqual(takeOption(['a', '--', '--size', 'b'], '--size'), { rest: ['a', '--', '--size', 'b'] })
  assert.throws(() => takeOption(['--size'], '--size'), UsageError)
})
