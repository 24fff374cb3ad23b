import { readFileSync } from 'node:fs'
import { XfsError } from '../../errors.ts'
import { escapeBytes } from '../../util/escape.ts'
import { ACL_TAGS, aclFromProgram, aclFromText, aclToProgram, aclToText } from '../../xfsimage/attributes.ts'
import { writeOutput } from '../../xfsimage/host.ts'
import type { XfsImage } from '../../xfsimage/xfsimage.ts'
import { changeOptions, hostPath, type ImageArguments, imagePath } from '../arguments.ts'
import { CannotRun, type Command, type Session, UsageError } from '../command.ts'
import { absolute, named } from '../json.ts'
import { withImage } from '../open.ts'
import type { Output, Row } from '../output.ts'

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
    return args.action === 'set' || args.action === 'remove' ? change(args, session) : show(args, session)
  },
}
export default command

async function change(args: Arguments, { out }: Session): Promise<void> {
  const path = imagePath(args.path)
  const name = imagePath(args.name ?? '')
  const follow = args.follow !== false
  await withImage({ out }, args.image, 'write', args, (image) => {
    const mode = args.create ? 'create' : args.replace ? 'replace' : 'any'
    if (args.action === 'set') image.xattr.set(path, name, givenValue(args, name), { mode, follow })
    else image.xattr.remove(path, name, { follow })
  })
  const done = { ...named('path', absolute(path)), ...named('name', name) }
  out.document(`xattr.${args.action}`, { ...done, ...(args.dryRun === true && { dryRun: true }) }, () => '')
}

const COLUMNS = [{ name: 'name', left: true }, { name: 'size' }, { name: 'value', left: true }] as const

const show = (args: Arguments, { out }: Session): Promise<void> =>
  withImage({ out }, args.image, 'read', args, (image) => {
    const path = imagePath(args.path)
    const attributes = chosen(image, path, args)
    const asHex = args.hex === true
    const [first] = attributes
    if (first && args.action === 'get' && args.file !== undefined) writeValue(args.file, first.value, out)
    else if (first && args.action === 'get' && out.form === 'text')
      out.raw(`${shown(first.name, first.value, asHex)}\n`)
    else if (out.json) {
      const located = named('path', absolute(path))
      out.records(
        'xattr',
        COLUMNS,
        attributes.map((attribute) => ({ ...located, ...jsonOf(attribute) })),
      )
    } else {
      const rows = attributes.map(({ name, value }) => ({
        name: escapeBytes(name),
        size: value.length,
        value: shown(name, value, asHex),
      }))
      out.records('xattr', COLUMNS, rows)
    }
  })

interface Attribute {
  readonly name: Uint8Array
  readonly value: Uint8Array
}

/** The attribute that was asked for, or all. */
function chosen(image: XfsImage, path: Uint8Array, { action, name: text = '', follow = true }: Arguments): Attribute[] {
  if (action === 'list') return image.xattr.list(path, { follow, encoding: 'buffer' })
  const name = imagePath(text)
  return [{ name, value: image.xattr.get(path, name, { follow }) }]
}

function jsonOf({ name, value }: Attribute): Row {
  const acl = isAcl(name) && { acl: aclFromProgram(value).map(jsonAclEntry) }
  return { ...named('name', name), size: value.length, ...named('value', value), ...acl }
}

function jsonAclEntry({ tag, id, perm }: ReturnType<typeof aclFromProgram>[number]) {
  const [name] = Object.entries(ACL_TAGS).find(([, value]) => value === tag) ?? []
  return { tag: name, ...(id !== -1 && { id }), perm }
}

/** @throws CannotRun */
function writeValue(file: string, value: Uint8Array, out: Output): void {
  if (file === '-') {
    out.bytes(value)
    return
  }
  try {
    writeOutput(hostPath(file), value)
  } catch (error) {
    throw error instanceof XfsError ? new CannotRun(error.message, { cause: error }) : error
  }
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
