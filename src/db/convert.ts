import { parseUnsigned } from './numbers.ts'
import { type DbSession, Refusal } from './session.ts'

/**
 * `convert`: convert one form of address to another. An address may be given in parts: AG and
 * block, inode and offset.
 */

type AddressForm =
  | 'agblock'
  | 'agino'
  | 'agnumber'
  | 'bboff'
  | 'blkoff'
  | 'byte'
  | 'daddr'
  | 'fsblock'
  | 'ino'
  | 'inoidx'
  | 'inooff'

interface Address {
  readonly names: readonly string[]
  /** The forms that may be given with it. */
  readonly beside: readonly AddressForm[]
  /** Size of its values in bits. */
  readonly bits: number
}

const addresses: Readonly<Record<AddressForm, Address>> = {
  agblock: { names: ['agblock', 'agbno'], beside: ['agnumber', 'bboff', 'blkoff', 'inoidx', 'inooff'], bits: 32 },
  agino: { names: ['agino', 'aginode'], beside: ['agnumber', 'inooff'], bits: 32 },
  agnumber: { names: ['agnumber', 'agno'], beside: ['agblock', 'agino', 'bboff', 'blkoff', 'inoidx', 'inooff'], bits: 32 },
  bboff: { names: ['bboff', 'daddroff'], beside: ['agblock', 'agnumber', 'daddr', 'fsblock'], bits: 32 },
  blkoff: { names: ['blkoff', 'fsboff', 'agboff'], beside: ['agblock', 'agnumber', 'fsblock'], bits: 32 },
  byte: { names: ['byte', 'fsbyte'], beside: [], bits: 64 },
  daddr: { names: ['daddr', 'bb'], beside: ['bboff'], bits: 64 },
  fsblock: { names: ['fsblock', 'fsb', 'fsbno'], beside: ['bboff', 'blkoff', 'inoidx'], bits: 64 },
  ino: { names: ['ino', 'inode'], beside: ['inooff'], bits: 64 },
  inoidx: { names: ['inoidx', 'offset'], beside: ['agblock', 'agnumber', 'fsblock', 'inooff'], bits: 32 },
  inooff: { names: ['inooff', 'inodeoff'], beside: ['agblock', 'agino', 'agnumber', 'fsblock', 'ino', 'inoidx'], bits: 32 },
} // biome-ignore format: a table
const forms = Object.keys(addresses) as AddressForm[]

const formOf = (name: string): AddressForm => {
  const form = forms.find((one) => addresses[one].names.includes(name))
  if (!form) throw new Refusal(`unknown conversion type ${name}`)
  return form
}

export function convert(session: DbSession, words: readonly string[]): void {
  if (words.length % 2 !== 1)
    throw new Refusal(`bad argument count ${words.length} to convert, expected 3,5,7,9 arguments`)
  const wanted = formOf(words[words.length - 1] as string)
  const given = new Map<AddressForm, bigint>()
  const refused = new Set<AddressForm>()
  for (let i = 0; i + 1 < words.length; i += 2) {
    const [name, text] = [words[i] as string, words[i + 1] as string]
    const form = formOf(name)
    if (form === wanted) throw new Refusal('result type same as argument')
    if (refused.has(form)) throw new Refusal(`conflicting conversion type ${name}`)
    const value = parseUnsigned(text)
    if (value === undefined) throw new Refusal(`${text} is not a number`)
    const { beside, bits } = addresses[form]
    given.set(form, BigInt.asUintN(bits, value))
    for (const other of forms) if (!beside.includes(other)) refused.add(other)
  }
  if (session.agno >= 0 && !refused.has('agnumber')) given.set('agnumber', BigInt(session.agno))
  let bytes = 0n
  for (const [form, value] of given) bytes += toBytes(session, form, value)
  const result = fromBytes(session, wanted, BigInt.asUintN(64, bytes))
  session.result('address', { unit: wanted, value: plainNumber(result) }, `0x${result.toString(16)} (${result})`)
}

/** Numbers above 2^53 stay exact. */
const plainNumber = (value: bigint): number | bigint => (value <= Number.MAX_SAFE_INTEGER ? Number(value) : value)

function scales({ geometry: { sb, blocksize, inodesize } }: DbSession) {
  const agBytes = BigInt(sb.agblocks) * BigInt(blocksize)
  return {
    block: BigInt(blocksize),
    inode: BigInt(inodesize),
    agBytes,
    agBlocks: 1n << BigInt(sb.agblklog),
    perBlock: 1n << BigInt(sb.inopblog),
  }
}

function toBytes(session: DbSession, form: AddressForm, value: bigint): bigint {
  const { block, inode, agBytes, agBlocks, perBlock } = scales(session)
  switch (form) {
    case 'agblock':
      return value * block
    case 'agino':
    case 'inoidx':
      return value * inode
    case 'agnumber':
      return value * agBytes
    case 'daddr':
      return value * 512n
    case 'fsblock':
      return (value / agBlocks) * agBytes + (value % agBlocks) * block
    case 'ino':
      return (value / (agBlocks * perBlock)) * agBytes + (value % (agBlocks * perBlock)) * inode
    default:
      return value
  }
}

function fromBytes(session: DbSession, form: AddressForm, bytes: bigint): bigint {
  const { block, inode, agBytes, agBlocks, perBlock } = scales(session)
  const [agno, within] = [bytes / agBytes, bytes % agBytes]
  switch (form) {
    case 'agblock':
      return within / block
    case 'agino':
      return within / inode
    case 'agnumber':
      return agno
    case 'bboff':
      return bytes % 512n
    case 'blkoff':
      return bytes % block
    case 'daddr':
      return bytes / 512n
    case 'fsblock':
      return agno * agBlocks + within / block
    case 'ino':
      return agno * agBlocks * perBlock + within / inode
    case 'inoidx':
      return (bytes / inode) % perBlock
    case 'inooff':
      return bytes % inode
    default:
      return bytes
  }
}
