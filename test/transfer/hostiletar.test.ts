import { test } from 'node:test'
import { AT, base256, type Fields, oneFile, pax } from './archive.ts'
import { type Case, putCases } from './cases.ts'

/**
 * Archives that no correct program writes: each has a result, or is reported, and the image is
 * sound after all of them.
 */

const file = (name: string, fields: Fields = {}): Buffer => oneFile(name, { body: name, ...fields })
const dir = (name: string, fields: Fields = {}): Buffer => oneFile(name, { flag: '5', ...fields })
const symlink = (name: string, link: string): Buffer => oneFile(name, { flag: '2', link })
const link = (name: string, target: string): Buffer => oneFile(name, { flag: '1', link: target })
const raw = (at: number, value: Uint8Array | string): Fields => ({ raw: { [at]: value } })
const setuid = (fields: Readonly<Record<number, Uint8Array | string>>): Fields => ({
  raw: { [AT.mode]: '0004755\0', ...fields },
})
const after = file('after')
const there = { after: 'after' }

const paths: readonly Case[] = [
  {
    what: 'an absolute path',
    archive: [file('/abs'), file('///x///y')],
    tree: { abs: '/abs', x: '/', 'x/y': '///x///y' },
  },
  {
    what: 'paths that climb',
    archive: [
      file('../up'),
      file('a/../../up'),
      file('..'),
      dir('../d'),
      symlink('../s', 'x'),
      link('../l', 'old'),
      after,
    ],
    tree: there,
    messages: [/^\.\.\/up: .*"\.\."/, /^a/, /^\.\.: /, /^\.\.\/d: /, /^\.\.\/s: /, /^\.\.\/l: /],
  },
  {
    what: 'dots in a path',
    archive: [file('./a'), file('././b/./c'), dir('.')],
    tree: { a: './a', b: '/', 'b/c': '././b/./c' },
  },
  {
    what: 'no name',
    archive: [file(''), dir(''), link('', 'old'), file('/'), file('.'), after],
    tree: there,
    messages: [/without a name/, /without a name/, /without a name/, /^\.: .*without a name/],
  },
  {
    what: 'a zero in a path of a pax header',
    archive: [
      pax({ path: 'a\0b' }),
      file('x'),
      pax({ path: 'd\0/x' }),
      file('x'),
      pax({ path: 'd\0' }),
      dir('x'),
      after,
    ],
    tree: there,
    messages: [/invalid name/, /invalid name/, /invalid name/],
  },
  {
    what: 'a name of 255 bytes, of 256, and in the middle of a path',
    archive: [
      pax({ path: 'n'.repeat(255) }),
      file('x'),
      pax({ path: 'n'.repeat(256) }),
      file('x'),
      pax({ path: `${'m'.repeat(256)}/x` }),
      file('x'),
    ],
    tree: { ['n'.repeat(255)]: 'x' },
    messages: [/name of 256 bytes/, /name of 256 bytes/],
  },
  {
    what: 'a path over PATH_MAX',
    archive: [pax({ path: `${'p/'.repeat(3000)}f` }), file('x'), after],
    tree: there,
    messages: [/a path of more than/],
  },
  {
    what: 'a name with a newline, escape sequences and bytes that are not UTF-8',
    archive: [oneFile('a\n\x1b[31m\xff', { body: 'x' })],
    tree: { 'a\n\x1b[31m\xff': 'x' },
  },
  {
    what: 'a prefix that leads out',
    archive: [file('x', raw(AT.prefix, '../..')), after],
    tree: there,
    messages: [/"\.\."/],
  },
  { what: 'a prefix that is absolute', archive: [file('x', raw(AT.prefix, '/p'))], tree: { p: '/', 'p/x': 'x' } },
  {
    what: 'a directory that is a file with a slash behind its name',
    archive: [oneFile('d/', {}), file('d/x')],
    tree: { d: '/', 'd/x': 'd/x' },
  },
  {
    what: 'a long name of GNU tar with a zero in it',
    archive: [oneFile('././@LongLink', { flag: 'L', body: 'long\0evil' }), file('x')],
    tree: { long: 'x' },
  },
]

const links: readonly Case[] = [
  {
    what: 'a symbolic link, then a file through it',
    archive: [
      symlink('s', 'olddir'),
      file('s/inside'),
      file('s/new'),
      dir('s/d'),
      link('s/l', 'old'),
      symlink('s/s', 'x'),
      after,
    ],
    tree: { ...there, s: '-> olddir' },
    messages: [/^s\/inside: .*not a directory/, /^s\/new: /, /^s\/d: /, /^s\/l: /, /^s\/s: /],
  },
  {
    what: 'symbolic links out, to themselves, and to nothing',
    archive: [symlink('a', '/etc/passwd'), symlink('b', '../../..'), symlink('c', 'c'), file('c'), symlink('d', '')],
    tree: { a: '-> /etc/passwd', b: '-> ../../..', c: 'c' },
    messages: [/^d: .*target/],
  },
  {
    what: 'a symbolic link with a zero in its target',
    archive: [
      pax({ linkpath: 'a\0b' }),
      symlink('s', 'x'),
      pax({ linkpath: `${'t'.repeat(500)}\0` }),
      symlink('r', 'x'),
      after,
    ],
    tree: there,
    messages: [/^s: .*target/, /^r: .*target/],
  },
  {
    what: 'symbolic links of 1023 and 1024 bytes, and of a megabyte',
    archive: [1023, 1024, 2 ** 20].flatMap((length) => [
      pax({ linkpath: 't'.repeat(length) }),
      symlink(`s${length}`, 'x'),
    ]),
    tree: { s1023: `-> ${'t'.repeat(1023)}` },
    messages: [/^s1048576: a link target of more than 4096 bytes/, /^s1024: target of 1024 bytes/],
  },
  {
    what: 'a long target of GNU tar',
    archive: [oneFile('././@LongLink', { flag: 'K', body: `${'k'.repeat(300)}\0` }), symlink('s', 'x')],
    tree: { s: `-> ${'k'.repeat(300)}` },
  },
  {
    what: 'a hard link with a size, and without content',
    archive: [file('f'), oneFile('l', { flag: '1', link: 'f', size: 1000 }), after],
    tree: { ...there, f: 'f', l: 'f =f' },
  },
  {
    what: 'a hard link with content, as pax writes it',
    archive: [file('f'), pax({ size: '5' }), oneFile('l', { flag: '1', link: 'f', body: 'other' }), after],
    tree: { ...there, f: 'f', l: 'f =f' },
  },
  {
    what: 'a hard link with a zero in its target',
    archive: [pax({ linkpath: 'old\0' }), link('l', 'x'), after],
    tree: there,
    messages: [/does not exist/],
  },
  {
    what: 'a hard link to a path over PATH_MAX',
    archive: [pax({ linkpath: 'old/'.repeat(2000) }), link('l', 'x'), after],
    tree: there,
    messages: [/^l: /],
  },
  {
    what: 'a hard link whose owner and mode are nonsense is still one',
    archive: [oneFile('l', { flag: '1', link: 'old', raw: { [AT.uid]: 'garbage', [AT.mode]: 'garbage' } })],
    tree: { l: 'old', old: 'old =l' },
  },
]

const id = (uid: bigint): Buffer => base256(uid, 8)
const numbers: readonly Case[] = [
  {
    what: 'an owner of 2^32 and more is not root: no set-uid file',
    archive: [file('a', setuid({ [AT.uid]: id(2n ** 32n) })), file('b', setuid({ [AT.uid]: id(2n ** 48n) })), file('c', setuid({ [AT.gid]: id(2n ** 32n) })), after],
    tree: there,
    messages: [/^a: invalid owner: 4294967296/, /^b: invalid owner: 281474976710656/, /^c: invalid group/],
  },
  {
    what: 'an owner of 2^32 - 1 is none; the one before is one',
    archive: [file('a', raw(AT.uid, id(2n ** 32n - 1n))), file('b', raw(AT.uid, id(2n ** 32n - 2n))), file('c', raw(AT.gid, id(2n ** 32n - 2n)))],
    tree: { b: 'b 4294967294:0', c: 'c 0:4294967294' },
    messages: [/^a: invalid owner: 4294967295/],
  },
  {
    what: 'a negative owner, and of digits that are not octal',
    archive: [file('a', setuid({ [AT.uid]: id(-1n) })), file('b', setuid({ [AT.uid]: '0009999\0' })), file('c', setuid({ [AT.gid]: 'root\0' })), file('d', setuid({ [AT.uid]: '-1\0' })), after],
    tree: there,
    messages: [/^a: invalid owner: -1/, /^b: invalid owner/, /^c: invalid group/, /^d: invalid owner/],
  },
  { what: 'an owner behind a zero is not root', archive: [file('a', raw(AT.uid, '\x000001750'))], tree: { a: 'a 1000:0' } },
  { what: 'an owner that is blank', archive: [file('a', raw(AT.uid, '        ')), file('b', raw(AT.uid, '\0\0\0\0\0\0\0\0'))], tree: { a: 'a', b: 'b' } },
  {
    what: 'an owner of a pax header that is too large, negative, no number, with a fraction, or empty',
    archive: ['4294967296', '-1', 'root', '1.5', '99999999999999999999999', '0x10', ''].flatMap((uid, i) => [pax({ uid }), file(`f${i}`, setuid({}))]),
    tree: { f6: 'f6 4755' },
    messages: [/f0: invalid owner: 4294967296/, /f1: /, /f2: invalid owner: root/, /f3: /, /f4: /, /f5: /],
  },
  { what: 'an owner of a global pax header that is too large', archive: [pax({ uid: '4294967296' }, 'g'), file('a'), pax({ uid: '5' }), file('b')], tree: { b: 'b 5:0' }, messages: [/^a: invalid owner/] },
  { what: 'a directory of an owner that cannot be', archive: [dir('d', raw(AT.uid, id(2n ** 40n))), after], tree: there, messages: [/^d: invalid owner/] },
  {
    what: 'modes: with the type, too large, negative, and of digits that are not octal',
    archive: [file('a', raw(AT.mode, '0100600\0')), file('b', raw(AT.mode, '7777777\0')), file('c', raw(AT.mode, id(-1n))), file('d', raw(AT.mode, 'rwxr-xr-')), file('e', raw(AT.mode, id(2n ** 32n + 0o4755n)))],
    tree: { a: 'a 600' },
    messages: [/^b: invalid mode/, /^c: invalid mode/, /^d: invalid mode/, /^e: invalid mode/],
  },
  {
    what: 'device numbers at and over the limits of XFS',
    archive: ([[511n, 2n ** 18n - 1n], [512n, 0n], [0n, 2n ** 18n], [2n ** 50n, 3n], [1n, 2n ** 50n], [-1n, 0n]] as const).map(([major, minor], i) =>
      oneFile(`d${i}`, { flag: '3', raw: { [AT.major]: base256(major, 8), [AT.minor]: base256(minor, 8) } })),
    tree: { d0: 'char 511,262143' },
    messages: [/^d3: invalid device number/, /^d4: invalid device number/, /^d5: invalid device number/, /^d1: device 512,0/, /^d2: device 0,262144/],
  },
  {
    what: 'devices, fifos, and device numbers of what is no device',
    archive: [oneFile('b', { flag: '4', raw: { [AT.major]: '0000010\0', [AT.minor]: '0000001\0' } }), oneFile('p', { flag: '6', raw: { [AT.major]: 'garbage\0' } }), pax({ 'SCHILY.devmajor': 'x' }), oneFile('c', { flag: '3' })],
    tree: { b: 'block 8,1', p: 'fifo' },
    messages: [/^c: invalid device number/],
  },
  { what: 'a fifo and a directory with a size have no content', archive: [oneFile('p', { flag: '6', size: 1000 }), dir('d', { size: 1000 }), after], tree: { ...there, p: 'fifo', d: '/' } },
  {
    what: 'times beyond what an image can hold, before it, and no times',
    archive: [file('a', raw(AT.mtime, base256(2n ** 40n, 12))), file('b', raw(AT.mtime, base256(-(2n ** 40n), 12))), file('c', raw(AT.mtime, 'yesterday\0')), pax({ mtime: '1e9' }), file('d'), pax({ mtime: '-5.5' }), file('e'), file('f', raw(AT.mtime, base256(2n ** 80n, 12)))],
    tree: { a: 'a', b: 'b', c: 'c', d: 'd', e: 'e', f: 'f' },
    messages: [/^a: .*cannot store/, /^b: .*cannot store/, /^c: .*invalid modification time/, /^d: .*invalid modification time/, /^f: .*invalid modification time/],
  },
  ...(['negative', 'not octal', 'over 2^53'] as const).map((what, i): Case => ({
    what: `a size that is ${what}`,
    archive: [after, file('a', raw(AT.size, [base256(-512n, 12), '0000000008\0', base256(2n ** 60n, 12)][i] as Buffer | string)), file('b')],
    tree: {},
    refused: /invalid size/,
  })),
  { what: 'a size of a pax header that is no number', archive: [after, pax({ size: '-1' }), file('a'), file('b')], tree: {}, refused: /invalid size/ },
  { what: 'a size of a pax header that is negative, of an extended header', archive: [after, oneFile('x', { flag: 'x', raw: { [AT.size]: base256(-1n, 12) } }), file('b')], tree: {}, refused: /invalid size/ },
  { what: 'a file larger than the image', archive: [after, file('a', { size: 2 ** 40 })], tree: there, messages: [/^a: .*space/], refused: /in the middle of a file/ },
] // biome-ignore format: a table

const sparse = (records: Readonly<Record<string, string>>, body: string): Buffer[] => [
  pax(records),
  oneFile('s', { body }),
  after,
]
const version1 = (map: string, data: string, realsize = '1000'): Buffer[] =>
  sparse(
    { 'GNU.sparse.major': '1', 'GNU.sparse.minor': '0', 'GNU.sparse.name': 's', 'GNU.sparse.realsize': realsize },
    `${map.padEnd(512, '\0')}${data}`,
  )
const oldMap = (numbers: readonly bigint[], realsize: bigint, body = 'data'): Buffer =>
  oneFile('s', {
    flag: 'S',
    body,
    raw: { 386: Buffer.concat(numbers.map((number) => base256(number, 12))), 483: base256(realsize, 12) },
  })
const hole = (tail: string): string => `${'\0'.repeat(10)}${tail}`

const holes: readonly Case[] = [
  { what: 'holes 1.0', archive: version1('1\n10\n4\n', 'data', '14'), tree: { ...there, s: hole('data') } },
  { what: 'holes 1.0 that overlap', archive: version1('2\n0\n4\n2\n4\n', 'datadata'), tree: {}, refused: /sparse map is out of order/ },
  { what: 'holes 1.0 beyond the end', archive: version1('1\n998\n4\n', 'data'), tree: {}, refused: /extends past EOF/ },
  { what: 'holes 1.0 with less data than they say', archive: version1('1\n0\n900\n', 'data'), tree: {}, refused: /less data/ },
  { what: 'holes 1.0 that are negative', archive: version1('1\n-4\n4\n', 'data'), tree: {}, refused: /not a number/ },
  { what: 'holes 1.0 over 2^63', archive: version1('1\n9223372036854775807\n9\n', 'data'), tree: {}, refused: /extends past EOF/ },
  { what: 'holes 1.0 of a billion pieces', archive: version1('1000000000\n', ''), tree: {}, refused: /sparse map/ },
  { what: 'holes 1.0 of a size that is no number', archive: version1('1\n0\n4\n', 'data', 'x'), tree: {}, refused: /extends past EOF/ },
  { what: 'holes of version 7', archive: sparse({ 'GNU.sparse.major': '7', 'GNU.sparse.realsize': '4' }, 'data'), tree: {}, refused: /unknown format/ },
  { what: 'holes 0.1', archive: sparse({ 'GNU.sparse.size': '14', 'GNU.sparse.map': '10,4' }, 'data'), tree: { ...there, s: hole('data') } },
  { what: 'holes 0.1 with a number too few', archive: sparse({ 'GNU.sparse.size': '14', 'GNU.sparse.map': '10,4,12' }, 'data'), tree: {}, refused: /an odd number of entries/ },
  { what: 'holes 0.0', archive: sparse({ 'GNU.sparse.size': '14', 'GNU.sparse.offset': '10', 'GNU.sparse.numbytes': '4' }, 'data'), tree: { ...there, s: hole('data') } },
  { what: 'holes 0.0 of a negative size', archive: sparse({ 'GNU.sparse.size': '-14', 'GNU.sparse.offset': '10', 'GNU.sparse.numbytes': '4' }, 'data'), tree: {}, refused: /extends past EOF/ },
  { what: 'holes of old GNU tar', archive: [oldMap([10n, 4n], 14n), after], tree: { ...there, s: hole('data') } },
  { what: 'holes of old GNU tar, negative', archive: [oldMap([-10n, 4n], 14n), after], tree: {}, refused: /not a number/ },
  { what: 'holes of old GNU tar, of a negative size', archive: [oldMap([0n, 4n], -14n), after], tree: {}, refused: /extends past EOF/ },
  { what: 'holes of old GNU tar that go on in a block that is not there', archive: [oneFile('s', { flag: 'S', raw: { 482: '\x01' } })], open: true, tree: {}, refused: /sparse map/ },
  { what: 'a file of 2^62 bytes, one hole', archive: [oldMap([], 2n ** 62n, ''), after], tree: { ...there, s: `${2n ** 62n} bytes` } },
] // biome-ignore format: a table

const records = (text: string): Buffer => oneFile('pax', { flag: 'x', body: text })
const headers: readonly Case[] = [
  ...([['a length too long', '99 path=x\n'], ['a length too short', '5 path=x\n'], ['a length of zero', '0 path=x\n'], ['no length', 'path=x\n'], ['no equals sign', '7 path\n'], ['no newline', '9 path=xx'], ['a negative length', '-9 path=x\n'], ['a length of 30 digits', `${'9'.repeat(30)} path=x\n`]] as const).map(
    ([what, text]): Case => ({ what: `a pax record with ${what}`, archive: [after, records(text), file('a')], tree: {}, refused: /invalid extended header/ })),
  { what: 'an extended header and nothing after it', archive: [after, pax({ path: 'x' })], tree: {}, refused: /it ends after an extended header/ },
  { what: 'two extended headers, a long name and a pax path', archive: [pax({ path: 'x' }), pax({ path: 'y' }), oneFile('././@LongLink', { flag: 'L', body: 'long\0' }), file('a')], tree: { y: 'a' } },
  { what: 'an empty path in a pax header', archive: [pax({ path: '' }), file('a')], tree: { a: 'a' } },
  { what: 'a wrong checksum', archive: [after, file('a', raw(AT.checksum, '0000000\0')), file('b')], tree: {}, refused: /wrong checksum/ },
  { what: 'a checksum that is no number', archive: [after, file('a', raw(AT.checksum, 'checksum'))], tree: {}, refused: /wrong checksum/ },
  { what: 'a checksum of signed bytes', archive: [signed()], tree: { '\xff\xfe': 'x' } },
  { what: 'types that are not known are files', archive: [oneFile('a', { flag: 'Z', body: 'z' }), oneFile('b', { flag: '\xff', body: 'y' }), oneFile('c', { flag: '7', body: '7' })], tree: { a: 'z', b: 'y', c: '7' } },
  { what: 'a part of another volume', archive: [after, oneFile('a', { flag: 'M', body: 'x' })], tree: {}, refused: /another volume/ },
  { what: 'two archives behind each other: the first', archive: [after, Buffer.alloc(1024), file('second')], tree: there },
  { what: 'no end', archive: [after], open: true, tree: there },
  { what: 'one block of zeros as the end', archive: [after, Buffer.alloc(512)], open: true, tree: there },
  { what: 'nothing', archive: [], open: true, tree: {} },
  { what: 'an extended header of 2^40 bytes', archive: [after, oneFile('x', { flag: 'x', size: 2 ** 32 })], tree: {}, refused: /an extended header of/ },
  { what: 'a long name of 2^32 bytes', archive: [after, oneFile('x', { flag: 'L', size: 2 ** 32 })], tree: {}, refused: /an extended header of/ },
  {
    what: 'attributes: names with a zero, empty, too long, of no namespace; lists that make no sense',
    archive: [pax({ 'SCHILY.xattr.user.a\0b': 'v', 'SCHILY.xattr.': 'v', 'SCHILY.xattr.user.': 'v', [`SCHILY.xattr.user.${'n'.repeat(256)}`]: 'v', 'SCHILY.xattr.other.a': 'v', 'SCHILY.acl.access': 'user::rwx,user:4294967296:rwx,group::r--,mask::rwx,other::r--', 'SCHILY.xattr.trusted.SGI_ACL_FILE': 'nonsense', 'SCHILY.xattr.user.fine': 'v' }), file('a')],
    tree: { a: 'a' },
    messages: [/user or group 4294967296/, /invalid attribute name/, /name must begin with/, /name must begin with/, /256 bytes/, /name must begin with/, /access control list/],
  },
] // biome-ignore format: a table

/** A header whose checksum counts bytes as signed. */
function signed(): Buffer {
  const right = oneFile('\xff\xfe', { body: 'x' })
  const sum = Number.parseInt(right.toString('latin1', AT.checksum, AT.checksum + 6), 8) - 2 * 256
  return oneFile('\xff\xfe', { body: 'x', raw: { [AT.checksum]: `${sum.toString(8).padStart(6, '0')}\0 ` } })
}

/**
 * An archive with all kinds of entries, cut at each block, next to it, and in the middle of each.
 */
function cuts(): Case[] {
  const entries: readonly (readonly [Buffer, Case['tree']])[] = [
    [Buffer.concat([pax({ path: 'p' }), file('x')]), { p: 'x' }],
    [Buffer.concat([oneFile('././@LongLink', { flag: 'L', body: 'long\0' }), file('y')]), { long: 'y' }],
    [link('l', 'p'), { l: 'x', p: 'x =l' }],
    [Buffer.concat(version1('1\n10\n4\n', 'data', '14').slice(0, 2)), { s: hole('data') }],
    [after, there],
  ]
  const whole = Buffer.concat(entries.map(([bytes]) => bytes))
  /** The tree after this number of bytes, if these are complete entries. */
  const trees = new Map<number, Case['tree']>([[0, {}]])
  let end = 0
  let tree: Case['tree'] = {}
  for (const [bytes, files] of entries) {
    end += bytes.length
    tree = { ...tree, ...files }
    trees.set(end, tree)
  }
  const places = Array.from({ length: whole.length / 128 + 1 }, (_, i) => i * 128).flatMap((at) => [at, at + 127])
  return places
    .filter((at) => at <= whole.length)
    .map((at) => ({
      what: `cut at ${at} of ${whole.length}`,
      archive: [whole.subarray(0, at)],
      open: true,
      tree: trees.get(at) ?? {},
      ...(trees.has(at) ? {} : { refused: /not a sound tar archive: it ends|less data/ }),
    }))
}

for (const [what, cases] of Object.entries({ paths, links, numbers, holes, headers, cuts: cuts() }))
  test(`tar: hostile archives: ${what}`, () => {
    putCases(cases)
  })
