import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { openFile } from '../../src/device/file.ts'
import { memoryDevice } from '../../src/device/memory.ts'
import { mkfs } from '../../src/mkfs/mkfs.ts'
import { mkdir } from '../../src/namespace/namespace.ts'
import { resolve } from '../../src/namespace/resolve.ts'
import { Volume } from '../../src/volume.ts'
import { LONG, SEED } from '../support/campaign.ts'
import { writeImage } from '../support/crashimages.ts'
import { judge } from '../support/judge.ts'
import { differences, hostManifest } from '../support/manifest.ts'
import { makeImage, skip } from '../support/oracles.ts'
import { type Random, random } from '../support/random.ts'
import { referenceImage } from '../support/reference.ts'
import { withTempDir } from '../support/temp.ts'
import { END, type Fields, oneFile } from './archive.ts'
import { type Case, listing, putArchive, putCases } from './cases.ts'
import { calls, manifestOf, skipCopies } from './support.ts'

/**
 * Which names of an archive are one file. The expected result is that of extracting it with GNU
 * tar.
 */

const file = (name: string, body = name): Buffer => oneFile(name, { body })
const link = (name: string, target: string): Buffer => oneFile(name, { flag: '1', link: target })
const dir = (name: string): Buffer => oneFile(name, { flag: '5' })
const symlink = (name: string, target: string): Buffer => oneFile(name, { flag: '2', link: target })

const links: readonly Case[] = [
  {
    what: 'a hard link to itself',
    archive: [file('f', 'AAAA'), link('f', 'f'), file('g', 'BBBB')],
    tree: { f: 'AAAA', g: 'BBBB' },
  },
  {
    what: 'a hard link to itself, of what the image has',
    archive: [link('old', 'old'), file('g')],
    tree: { g: 'g' },
  },
  {
    what: 'a hard link to another name of the same file',
    archive: [file('f'), link('z', 'f'), link('f', 'z'), link('z', './/f'), file('g')],
    tree: { f: 'f', z: 'f =f', g: 'g' },
  },
  {
    what: 'a hard link to a name that is replaced later',
    archive: [file('f', 'first'), link('z', 'f'), file('f', 'second'), file('g')],
    tree: { f: 'second', z: 'first', g: 'g' },
  },
  {
    what: 'a hard link to a file of the image that is replaced later',
    archive: [link('z', 'old'), file('old', 'new'), file('g')],
    tree: { old: 'new', z: 'old', g: 'g' },
  },
  {
    what: 'a hard link to a file of the image in another directory, which is replaced later',
    archive: [link('z', 'olddir/inside'), file('olddir/inside', 'new'), file('g')],
    tree: { 'olddir/inside': 'new', z: 'inside', g: 'g' },
  },
  {
    what: 'a hard link to a name that was replaced before',
    archive: [file('f', 'first'), file('f', 'second'), link('z', 'f')],
    tree: { f: 'second', z: 'second =f' },
  },
  {
    what: 'a hard link that replaces the file that another one is a link to',
    archive: [file('a'), file('b'), link('z', 'a'), link('a', 'b'), link('b', 'z')],
    tree: { a: 'b', b: 'a', z: 'a =b' },
  },
  {
    what: 'a hard link to a file that a directory took the place of',
    archive: [file('f'), dir('f'), file('g'), link('z', 'f')],
    tree: { f: '/', g: 'g' },
    messages: [/^z: a hard link to a directory$/],
  },
  {
    what: 'a hard link to a file that was not put, as its directory is a file',
    archive: [file('f'), file('f/x'), link('z', 'f/x'), file('g')],
    tree: { f: 'f', g: 'g' },
    messages: [/^f\/x: .*not a directory/, /^z: .*not a directory/],
  },
  {
    what: 'a hard link to a directory',
    archive: [dir('d'), link('z', 'd'), link('y', 'olddir'), link('x', '.')],
    tree: { d: '/' },
    messages: [/^z: a hard link to a directory/, /^y: a hard link to a directory/, /^x: a hard link to a directory/],
  },
  {
    what: 'a hard link to a file of the image',
    archive: [link('z', 'old'), link('y', '/olddir/inside')],
    tree: { z: 'old =old', y: 'inside =olddir/inside' },
  },
  {
    what: 'a hard link to a name that comes later, and to none',
    archive: [link('z', 'later'), file('later'), link('y', 'no/where'), link('x', '')],
    tree: { later: 'later' },
    messages: [/^z: a hard link to later, which does not exist/, /^y: a hard link to no\/where/, /^x: /],
  },
  {
    what: 'a hard link to a symbolic link',
    archive: [symlink('s', 'old'), link('z', 's'), file('s', 'new')],
    tree: { s: 'new', z: '-> old' },
  },
  {
    what: 'a hard link through a symbolic link, and out',
    archive: [symlink('s', 'olddir'), link('z', 's/inside'), link('y', '../old'), link('x', 'olddir/../old')],
    tree: { s: '-> olddir' },
    messages: [/^z: .*not a directory/, /^y: .*"\.\."/, /^x: .*"\.\."/],
  },
  {
    what: 'many hard links, and the file again',
    archive: [file('f', '1'), ...Array.from({ length: 20 }, (_, i) => link(`l${i}`, 'f')), file('f', '2'), link('m', 'l7')],
    tree: { f: '2', l0: '1', m: '1 =l0', ...Object.fromEntries(Array.from({ length: 19 }, (_, i) => [`l${i + 1}`, '1 =l0'])) },
  },
  {
    what: 'a large file that is replaced, with a link to the old one, and the other way round',
    archive: [
      file('f', 'small'), link('z', 'f'), file('f', 'L'.repeat(2 ** 20 + 5)), link('y', 'f'), file('f', 'again'),
    ],
    tree: { f: 'again', y: `${2 ** 20 + 5} bytes`, z: 'small' },
  },
  {
    what: 'a file takes the place of an empty directory, and not of one with files in it',
    archive: [dir('d'), file('d', 'file'), file('olddir', 'file'), dir('e'), file('e/x'), file('e', 'file'), file('d/x')],
    tree: { d: 'file', e: '/', 'e/x': 'e/x' },
    messages: [/^olddir: .*not empty/, /^e: .*not empty/, /^d\/x: .*not a directory/],
  },
  {
    what: 'a large file takes the place of an empty directory, and a directory that of a large file',
    archive: [dir('d'), file('d', 'L'.repeat(2 ** 20 + 1)), file('e', 'L'.repeat(2 ** 20 + 1)), dir('e'), file('e/x')],
    tree: { d: `${2 ** 20 + 1} bytes`, e: '/', 'e/x': 'e/x' },
  },
  {
    what: 'a directory takes the place of a symbolic link to a directory, and nothing goes through it',
    archive: [symlink('s', 'olddir'), dir('s'), file('s/inside', 'evil')],
    tree: { s: '/', 's/inside': 'evil' },
  },
  {
    what: 'the same directory twice, with the same files in it',
    archive: [dir('d'), file('d/x', '1'), dir('d/e'), dir('d/'), file('d/x', '2'), file('d/e/y'), dir('d/e'), file('d/e/y', '2')],
    tree: { d: '/', 'd/x': '2', 'd/e': '/', 'd/e/y': '2' },
  },
] // biome-ignore format: a table

test('tar: hard links go to the file that has the name when they come', () => {
  putCases(links)
})

test('tar: the same without parent pointers, in small blocks', () => {
  putCases(links, { blocksize: 1024, features: { parent: false } })
})

const KINDS: Readonly<Record<string, Fields>> = {
  file: { body: 'content' }, directory: { flag: '5' }, symlink: { flag: '2', link: 'to' }, link: { flag: '1', link: 'other' }, fifo: { flag: '6' },
  device: { flag: '3', raw: { 329: '0000001\0', 337: '0000003\0' } },
} // biome-ignore format: a table

/**
 * Every type over every type, each pair in its own directory: two files of one name, and a third as
 * a hard link.
 */
function pairs(): Buffer {
  const parts: Buffer[] = [file('other')]
  for (const [first, before] of Object.entries(KINDS))
    for (const [second, after] of Object.entries(KINDS))
      for (const inside of first === 'directory' ? [false, true] : [false]) {
        const folder = `${first} ${second}${inside ? ' inside' : ''}`
        const here = (fields: Fields): Buffer => oneFile(`${folder}/n`, fields)
        parts.push(dir(folder), here(before))
        if (inside) parts.push(file(`${folder}/n/x`))
        parts.push(here(after), file(`${folder}/last`))
      }
  return Buffer.concat([...parts, END])
}

const isGnuTar = /GNU tar/.test(spawnSync('tar', ['--version'], { encoding: 'utf8' }).stdout ?? '')

/**
 * Extract an archive with GNU tar and with ours: the results must be equal. @returns the messages
 * of each
 */
function compareWithGnuTar(bytes: Buffer): { readonly ours: string[]; readonly theirs: string[] } {
  return withTempDir((folder) => {
    const [image, archive, extracted] = [join(folder, 'image'), join(folder, 'a.tar'), join(folder, 'extracted')]
    writeFileSync(archive, bytes)
    mkdirSync(extracted)
    const { stderr } = spawnSync('tar', ['-C', extracted, '-xpf', archive], { encoding: 'utf8' })
    const device = memoryDevice(300 * 2 ** 20)
    mkfs(device, {})
    const volume = Volume.open(device, { write: true })
    mkdir(volume, '/into', 0o755)
    const { messages } = putArchive(volume, archive, '/into')
    volume.close()
    writeImage(device, image)
    // GNU tar sets modes and times of directories at the end, if they still exist.
    const inside = (lines: readonly string[]): string[] =>
      lines.slice(1).map((line) => line.replace(/^("[^"]*") 40\d{3} .*/, '$1 directory'))
    assert.equal(differences(inside(manifestOf(image, '/into')), inside(hostManifest(extracted, calls()))), '')
    judge(image)
    return { ours: messages, theirs: stderr.split('\n') }
  })
}

const skipGnuTar = skipCopies || (isGnuTar ? false : 'tar is not GNU tar')

test('tar: each type over each type, as GNU tar extracts it', { skip: skipGnuTar }, () => {
  const { ours, theirs } = compareWithGnuTar(pairs())
  const names = (lines: readonly string[]): string[] =>
    lines.flatMap((line) => /^(?:tar: )?(.*\/n): /.exec(line)?.[1] ?? [])
  assert.equal(names(ours).length, 5)
  assert.deepEqual(names(ours), names(theirs))
})

/**
 * Files, followed by entries of any type at few paths, such that the target of a hard link exists
 * and is not a directory. Other links are reported here and change nothing, while GNU tar has
 * removed and created files in their way before.
 */
function randomEntries(folder: string, { pick, int }: Random): Buffer[] {
  const files = ['a', 'b', 'd/a', 'd/b', 'd/e/a'].map((name) => `${folder}/${name}`)
  const others = ['c', 'g', 'd/e/c'].map((name) => `${folder}/${name}`)
  const more = Array.from({ length: 4 + int(16) }, (_, i) => {
    const [path, kind] = [pick([...files, ...others]), int(12)]
    if (kind < 4) return file(path, `${i} ${path}`)
    if (kind < 8) return link(path, pick(files))
    if (kind < 10) return dir(pick(others))
    return kind === 10 ? symlink(path, 'nowhere') : oneFile(path, { flag: '6' })
  })
  return [...files.map((path) => file(path)), ...more]
}

test('tar: entries at random, as GNU tar extracts them', { skip: skipGnuTar }, () => {
  for (let seed = SEED; seed < SEED + (LONG ? 20 : 1); seed++) {
    const source = random(seed)
    const folders = Array.from({ length: LONG ? 200 : 50 }, (_, i) => `f${i}`)
    const parts = folders.flatMap((folder) => [dir(folder), ...randomEntries(folder, source)])
    const { ours, theirs } = compareWithGnuTar(Buffer.concat([...parts, END]))
    assert.deepEqual([ours, theirs], [[], ['']])
  }
})

test('tar: where upper and lower case are the same, names of both are one', () => {
  withTempDir((folder) => {
    const image = join(folder, 'image')
    // Ours cannot make such a filesystem.
    referenceImage(
      'case-insensitive',
      image,
      () => makeImage(image, '300m', ['-n', 'version=ci']),
      skip.newest === false,
    )
    const volume = Volume.open(openFile(image, 'rw'), { write: true })
    const archive = join(folder, 'a.tar')
    writeFileSync(
      archive,
      Buffer.concat([
        file('f', 'first'), link('z', 'F'), file('F', 'second'), link('y', 'f'), link('Y', 'y'), file('last'),
        dir('d'), file('d/x', '1'), file('D/X', '2'), link('w', 'D/x'), END,
      ]),
    ) // biome-ignore format: a table
    assert.deepEqual(putArchive(volume, archive, '/'), { messages: [], refused: '' })
    assert.deepEqual(listing(resolve(volume, '/')), {
      F: 'second', d: '/', 'd/X': '2', last: 'last', w: '2 =d/X', y: 'second =F', z: 'first',
    }) // biome-ignore format: a table
    volume.close()
    judge(image)
  })
})
