import assert from 'node:assert/strict'
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { openFile } from '../../src/device/file.ts'
import { forkBytes, type Inode } from '../../src/inode/inode.ts'
import { resolve } from '../../src/namespace/resolve.ts'
import { get } from '../../src/transfer/get.ts'
import type { TransferResult } from '../../src/transfer/put.ts'
import { withTransaction } from '../../src/tx/transaction.ts'
import { finish } from '../../src/util/progress.ts'
import { Volume } from '../../src/volume.ts'
import { xfskit, xfskitOk } from '../support/cli.ts'
import { differences, hostManifest } from '../support/manifest.ts'
import { makeImage, mountImage } from '../support/oracles.ts'
import { withTempDir } from '../support/temp.ts'
import { problemText } from './problems.ts'
import { calls, makeTree, skipCopies } from './support.ts'

test('get: a tree that the kernel made, onto another filesystem', { skip: skipCopies }, () => {
  withTempDir((folder) => {
    const [image, target] = [join(folder, 'image'), join(folder, 'target')]
    makeImage(image, '512m')
    makeImage(target, '512m')
    mountImage(image, (root) => makeTree(join(root, 'tree'), { largeAttributes: true }))
    const source = mountImage(image, (root) => hostManifest(join(root, 'tree'), calls()), { options: 'ro' })
    mountImage(target, (root) => {
      xfskitOk(['get', '--devices', image, '/tree', join(root, 'copy')])
      assert.equal(differences(hostManifest(join(root, 'copy'), calls()), source), '')
      // Again, over existing files.
      xfskitOk(['get', '--devices', image, '/tree/.', join(root, 'copy')])
      assert.equal(differences(hostManifest(join(root, 'copy'), calls()), source), '')
      assert.equal(lstatSync(join(root, 'copy', 'hole')).blocks, 0)
    })
  })
})

test('get: names as cp has them; devices on demand; owners on demand', () => {
  withTempDir((folder) => {
    const image = join(folder, 'image')
    makeImage(image, '300m')
    xfskitOk(['mkdir', '-p', image, '/a/b'])
    xfskitOk(['write', image, '/a/file'], { input: 'hello' })
    xfskitOk(['chmod', image, '4711', '/a/file'])
    xfskitOk(['mknod', image, '/a/null', 'c', '1', '3'])
    const at = (...names: string[]): string => join(folder, ...names)
    assert.match(xfskit(['get', image, '/a', at('new')]).stderr, /new\/null: a device node: skipped without --devices/)
    assert.deepEqual(readdirSync(at('new')).sort(), ['b', 'file'])
    mkdirSync(at('into'))
    xfskitOk(['get', '--no-owner', '--no-devices', image, '/a', '/a/file', at('into')])
    assert.deepEqual(readdirSync(at('into')).sort(), ['a', 'file'])
    assert.equal(lstatSync(at('into', 'file')).mode & 0o7777, 0o711)
    assert.equal(readFileSync(at('into', 'a', 'file'), 'utf8'), 'hello')
    assert.equal(xfskit(['get', image, '/', at('all')]).status, 4)
    assert.deepEqual(readdirSync(at('all')), ['a'])
    assert.equal(xfskit(['get', image, '/none', at('x')]).status, 1)
    assert.equal(xfskit(['get', image, '/a', '/a/b', at('no directory')]).status, 3)
    assert.equal(xfskit(['get', image]).status, 3)
  })
})

/** Change bytes in the inode of a directory, as an attacker would, with correct checksums. */
function patch(volume: Volume, path: string, from: string, to: string): void {
  withTransaction(volume, (tx) => {
    const dir: Inode = resolve(volume, path, { follow: true, reader: tx })
    tx.edit(dir.buf)
    const fork = Buffer.from(
      forkBytes(dir, 'data').buffer,
      forkBytes(dir, 'data').byteOffset,
      forkBytes(dir, 'data').length,
    )
    const at = fork.indexOf(from, 0, 'latin1')
    assert.ok(at > 0 && from.length === to.length)
    fork.write(to, at, 'latin1')
  })
}

test('get: hostile names and links do not lead out of the target', () => {
  withTempDir((folder) => {
    const image = join(folder, 'image')
    makeImage(image, '300m')
    const outside = join(folder, 'outside')
    mkdirSync(outside)
    writeFileSync(join(outside, 'victim'), 'mine')
    xfskitOk(['mkdir', '-p', image, '/d/up_evil', '/d/y/below', '/d/zz', '/d/good'])
    xfskitOk(['write', image, '/d/.._victim'], { input: 'evil' })
    xfskitOk(['write', image, '/d/y/victim'], { input: 'evil' })
    xfskitOk(['write', image, '/d/zz/victim'], { input: 'evil' })
    xfskitOk(['write', image, '/d/good/file'], { input: 'good' })
    xfskitOk(['write', image, '/d/q'], { input: 'evil' })
    xfskitOk(['ln', '-s', image, outside, '/d/x'])
    xfskitOk(['ln', '-s', image, join(outside, 'victim'), '/d/p'])
    const volume = Volume.open(openFile(image, 'rw'), { write: true })
    patch(volume, '/d', '.._victim', '../victim')
    patch(volume, '/d', 'up_evil', 'up/evil')
    patch(volume, '/d', 'zz', '..')
    // A directory with the name of a link, and a file with the name of a link.
    const dir = resolve(volume, '/d')
    const names = Buffer.from(forkBytes(dir, 'data')).toString('latin1')
    assert.ok(names.includes('x') && names.includes('y'))
    withTransaction(volume, (tx) => {
      const fork = forkBytes(resolve(volume, '/d', { follow: true, reader: tx }), 'data')
      tx.edit(resolve(volume, '/d', { follow: true, reader: tx }).buf)
      for (const [from, to] of [
        ['y', 'x'],
        ['q', 'p'],
      ] as const) {
        for (let at = 6; at < fork.length; ) {
          const length = fork[at] as number
          if (length === 1 && fork[at + 3] === from.charCodeAt(0)) fork[at + 3] = to.charCodeAt(0)
          if (length === 0) break
          at += 3 + length + 5
        }
      }
    })
    volume.close()
    const target = join(folder, 'a', 'target')
    mkdirSync(join(folder, 'a'))
    const { status, stderr, stdout } = xfskit(['get', image, '/d', target])
    assert.equal(status, 4, stdout + stderr)
    assert.match(stderr, /invalid file name/)
    assert.deepEqual(readdirSync(outside), ['victim'])
    assert.equal(readFileSync(join(outside, 'victim'), 'utf8'), 'mine')
    assert.deepEqual(readdirSync(join(folder, 'a')), ['target'])
    assert.equal(readFileSync(join(target, 'good', 'file'), 'utf8'), 'good')
    const archive = join(folder, 'x.tar')
    assert.equal(xfskit(['get', image, '/d', archive]).status, 4)
    assert.ok(existsSync(archive))
  })
})

test('get: a link in the target is replaced, not followed', () => {
  withTempDir((folder) => {
    const image = join(folder, 'image')
    makeImage(image, '300m')
    xfskitOk(['mkdir', '-p', image, '/t/dir'])
    xfskitOk(['write', image, '/t/file'], { input: 'new' })
    xfskitOk(['write', image, '/t/dir/file'], { input: 'new' })
    const target = join(folder, 'target')
    mkdirSync(target)
    mkdirSync(join(folder, 'outside'))
    writeFileSync(join(folder, 'outside', 'file'), 'mine')
    symlinkSync(join(folder, 'outside', 'file'), join(target, 'file'))
    symlinkSync(join(folder, 'outside'), join(target, 'dir'))
    const { status, stderr } = xfskit(['get', image, '/t/.', target])
    assert.equal(status, 4)
    assert.match(stderr, /dir: /)
    assert.equal(readFileSync(join(folder, 'outside', 'file'), 'utf8'), 'mine')
    assert.equal(readFileSync(join(target, 'file'), 'utf8'), 'new')
    assert.ok(lstatSync(join(target, 'file')).isFile())
  })
})

test('get: a damaged file is reported and skipped', () => {
  withTempDir((folder) => {
    const image = join(folder, 'image')
    makeImage(image, '300m')
    for (const name of ['a', 'b\x1b[31m', 'c']) xfskitOk(['write', image, `/${name}`], { input: name })
    const volume = Volume.open(openFile(image, 'r'))
    const { ino } = resolve(volume, '/b\x1b[31m')
    const { inodesize } = volume.geometry
    const position =
      volume.geometry.daddr(volume.geometry.inoAgno(ino), volume.geometry.aginoAgbno(volume.geometry.inoAgino(ino))) *
        512 +
      volume.geometry.aginoIndex(volume.geometry.inoAgino(ino)) * inodesize
    volume.close()
    const device = openFile(image, 'rw')
    device.write(Uint8Array.of(0xff, 0xff), position + 60)
    device.close()
    const { status, stderr } = xfskit(['get', image, '/', join(folder, 'out')])
    assert.equal(status, 4)
    assert.match(stderr, /b\\x1b\[31m: inode \d+: /)
    assert.deepEqual(readdirSync(join(folder, 'out')).sort(), ['a', 'c'])
  })
})

test('get: of a damaged directory, what is before the damage is copied', () => {
  withTempDir((folder) => {
    const image = join(folder, 'image')
    makeImage(image, '300m')
    const tree = join(folder, 'tree')
    mkdirSync(tree)
    for (let i = 10; i < 90; i++) writeFileSync(join(tree, `${i}${'n'.repeat(200)}`), 'x')
    xfskitOk(['put', image, tree, '/'])
    xfskitOk(['db', '-x', image, '-c', 'path /tree', '-c', 'dblock 2', '-c', 'write -c dhdr.hdr.magic 0'])
    const out = join(folder, 'out')
    const { status, stderr } = xfskit(['get', image, '/', out])
    assert.equal(status, 4)
    assert.match(stderr, /out\/tree: /)
    const copied = readdirSync(join(out, 'tree')).length
    assert.ok(copied >= 20 && copied < 80, String(copied))
    const listed = xfskit(['find', image, '-type', 'f'])
    assert.equal(listed.stdout.trim().split('\n').length, copied)
  })
})

const FILE = 'file\x1b[31m'

test('get: as a user that is not root', { skip: skipCopies }, () => {
  withTempDir((folder) => {
    const image = join(folder, 'image')
    makeImage(image, '300m')
    xfskitOk(['mkdir', image, '/d'])
    xfskitOk(['write', image, '/d/file\\x1b[31m'], { input: 'x' })
    for (const name of ['trusted.a', 'security.b', 'user.c']) xfskitOk(['xattr', 'set', image, '/d', name, 'value'])
    xfskitOk(['xattr', 'set', image, '/d/file\\x1b[31m', 'user.c', 'value'])
    xfskitOk(['chmod', image, '4444', '/d/file\\x1b[31m'])
    chmodSync(folder, 0o777)
    const out = join(folder, 'out')
    const nobody = 65_534
    const volume = Volume.open(openFile(image, 'r'))
    const copy = (host: string, owner: boolean): TransferResult => {
      process.seteuid?.(nobody)
      try {
        return finish(get(volume, [{ path: Buffer.from('/d'), host: Buffer.from(host), named: true }], { owner }))
      } finally {
        process.seteuid?.(0)
      }
    }
    const mine = copy(out, false)
    assert.deepEqual(mine.problems.map(problemText), [`${out}: trusted.a, security.b not copied: only root can set it`])
    assert.equal(lstatSync(out).uid, nobody)
    assert.equal(Buffer.from(calls().getXattr(Buffer.from(out), Buffer.from('user.c'))).toString(), 'value')
    // Read-only files have their attributes, too.
    assert.equal(Buffer.from(calls().getXattr(Buffer.from(join(out, FILE)), Buffer.from('user.c'))).toString(), 'value')
    // If the owner cannot be set, the file stays, without the set-ID bits.
    const other = join(folder, 'other')
    const partly = copy(other, true)
    assert.deepEqual(partly.problems.map(problemText), [
      `${other}/file\\x1b[31m: owner not copied: permission denied`,
      `${other}: owner not copied: permission denied; trusted.a, security.b not copied: only root can set it`,
    ])
    assert.equal(readFileSync(join(other, FILE), 'utf8'), 'x')
    assert.equal(lstatSync(join(other, FILE)).mode & 0o7777, 0o444)
    volume.close()
    const { status, stderr } = xfskit(['get', image, '/d', join(folder, 'no', 'place')])
    assert.equal(status, 1)
    assert.match(stderr, /no\/place: no such file/)
  })
})

test('get: a link to a directory that is named as the target is meant', () => {
  withTempDir((folder) => {
    const image = join(folder, 'image')
    makeImage(image, '300m')
    xfskitOk(['write', image, '/file'], { input: 'x' })
    mkdirSync(join(folder, 'real'))
    symlinkSync('real', join(folder, 'link'))
    xfskitOk(['get', image, '/', join(folder, 'link')])
    assert.deepEqual(readdirSync(join(folder, 'real')), ['file'])
  })
})
