import { readFileSync } from 'node:fs'
import { aclFromProgram, aclFromText, aclToProgram, aclToText } from '../../attr/acl.ts'
import { getXattr, removeXattr, setXattr, xattrs } from '../../attr/xattrs.ts'
import { writeOutput } from '../../device/outputfile.ts'
import { resolve } from '../../namespace/resolve.ts'
import { escapeBytes } from '../../util/escape.ts'
import type { Volume } from '../../volume.ts'
import { changeOptions, hostPath, type ImageArguments, imagePath } from '../arguments.ts'
import { type Command, type Session, UsageError } from '../command.ts'
import { running, withVolume } from '../image.ts'
import type { Output } from '../output.ts'

interface Arguments extends ImageArguments {
  readonly action: 'list' | 'get' | 'set' | 'remove'
  readonly image: string
  readonly path: string
  readonly name?: string
  readonly value?: string
  readonly hex?: boolean
  readonly file?: string
  readonly create?: boolean
  readonly replace?: boolean
  readonly follow?: boolean
}

const command: Command<Arguments> = {
  command: 'xattr <action> <image> <path> [name] [value]',
  describe: 'list, get, set and remove extended attributes, and access control lists',
  examples: [
    ['$0 xattr list disk.img /etc/motd', 'names and values'],
    ['$0 xattr set disk.img /etc/motd user.origin somewhere', ''],
    ['$0 xattr get disk.img /bin/ping security.capability --hex', ''],
    ['$0 xattr get disk.img /srv/x user.blob --file blob', 'write the raw value to a file of the host'],
    [
      '$0 xattr set disk.img /srv system.posix_acl_access u::rwx,u:1000:rx,g::rx,m::rx,o::-',
      'ACLs are given and printed as text',
    ],
  ],
  builder: (yargs) =>
    changeOptions(yargs)
      .positional('action', {
        type: 'string',
        choices: ['list', 'get', 'set', 'remove'],
        demandOption: true,
        describe: 'the action',
      })
      .positional('image', { type: 'string', demandOption: true, describe: 'image file or block device' })
      .positional('path', { type: 'string', demandOption: true, describe: 'a file in the image' })
      .positional('name', {
        type: 'string',
        describe: 'name with namespace: user. trusted. security. system.posix_acl_',
      })
      .positional('value', { type: 'string', describe: 'the value: text, with \\xHH for any byte' })
      .option('hex', { type: 'boolean', describe: 'values as hexadecimal digits' })
      .option('file', {
        type: 'string',
        requiresArg: true,
        describe: 'set: read the value from this file; get: write the raw value to it (-: standard output)',
      })
      .option('create', { type: 'boolean', describe: 'set: fail if the attribute exists' })
      .option('replace', { type: 'boolean', describe: 'set: fail if the attribute does not exist' })
      .option('follow', { type: 'boolean', default: true, describe: 'follow symbolic links' }) as never,
  handler: (args, session) => {
    const needsName = args.action !== 'list'
    if (needsName !== (args.name !== undefined))
      throw new UsageError(`xattr ${args.action} ${needsName ? 'needs a name' : 'takes no name'}`)
    if ((args.action === 'set') !== (args.value !== undefined || (args.file !== undefined && args.action !== 'get')))
      throw new UsageError('xattr set needs a value or --file, the others take none')
    const changes = args.action === 'set' || args.action === 'remove'
    return withVolume(session, args.image, changes ? 'write' : 'read', args, (volume) => run(volume, args, session))
  },
}
export default command

function run(volume: Volume, args: Arguments, { out }: Session): void {
  const inode = resolve(volume, imagePath(args.path), { follow: args.follow !== false })
  const name = imagePath(args.name ?? '')
  if (args.action === 'set') {
    setXattr(volume, inode.ino, name, givenValue(args, name), args.create ? 'create' : args.replace ? 'replace' : 'any')
  } else if (args.action === 'remove') removeXattr(volume, inode.ino, name)
  else if (args.action === 'get') {
    const value = getXattr(inode, name)
    if (args.file !== undefined) writeValue(args.file, value, out)
    else
      out.document(
        'xattr',
        { path: args.path, name: args.name, value },
        () => `${shown(name, value, args.hex === true)}\n`,
      )
  } else {
    const rows = function* () {
      for (const attr of xattrs(inode)) {
        yield {
          name: escapeBytes(attr.name),
          size: attr.value.length,
          value: out.json || args.hex ? hex(attr.value) : shown(attr.name, attr.value, false),
        }
      }
    }
    out.records('xattr', [{ name: 'name', left: true }, { name: 'size' }, { name: 'value', left: true }], rows())
  }
}

function writeValue(file: string, value: Uint8Array, out: Output): void {
  if (file === '-') {
    out.bytes(value)
    return
  }
  running(() => writeOutput(hostPath(file), value))
}

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex')
const isAcl = (name: Uint8Array): boolean => Buffer.from(name).toString('latin1').startsWith('system.posix_acl_')
const shown = (name: Uint8Array, value: Uint8Array, asHex: boolean): string =>
  asHex ? hex(value) : isAcl(name) ? aclToText(aclFromProgram(value)) : escapeBytes(value)

function givenValue({ value = '', file, hex: asHex }: Arguments, name: Uint8Array): Uint8Array {
  if (file !== undefined) {
    try {
      return readFileSync(hostPath(file))
    } catch (error) {
      throw new UsageError(`cannot read ${file}: ${(error as Error).message}`)
    }
  }
  if (asHex) {
    if (!/^([0-9a-f]{2})*$/i.test(value)) throw new UsageError(`not hexadecimal: ${value}`)
    return Buffer.from(value, 'hex')
  }
  return isAcl(name) ? aclToProgram(aclFromText(value)) : imagePath(value)
}
