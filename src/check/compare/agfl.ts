import { OWNERS } from '../../format/btrecs.ts'
import { type Blocks, blocksOf, fileBlocks, mergeMetadata } from '../expect/blocks.ts'
import { type UsageRange, usage } from '../expect/usage.ts'
import { Extents } from '../extents.ts'
import type { Findings } from '../findings.ts'
import type { ObservedAg } from '../observe/observation.ts'
import { userName } from '../owners.ts'

/** What the AGFL lists, and who owns the blocks of the AG with it. */
interface AgflClaim {
  readonly blocks: Blocks
  /** Blocks that are rightly on the AGFL. */
  readonly agfl: readonly number[]
  /** Listed more than once. */
  readonly twice: readonly number[]
  /** Listed, and something else owns them. */
  readonly owned: readonly number[]
  /** It lists something else than its blocks, or not as many as the AGF says. */
  readonly agflWrong: boolean
}

/**
 * Add the blocks of the AGFL to those with an owner. A block with another owner stays with that.
 */
export function claimAgfl({ headers, metadata, mappings, length }: ObservedAg): AgflClaim {
  const without = new Extents()
  mergeMetadata(metadata, without)
  const files = fileBlocks(mappings)
  const blocks = blocksOf(length, without, files)
  const seen = new Set<number>()
  const agfl: number[] = []
  const twice: number[] = []
  const owned: number[] = []
  for (const agbno of headers.agfl) {
    const list = seen.has(agbno) ? twice : userOf(blocks, agbno) ? owned : agfl
    list.push(agbno)
    seen.add(agbno)
  }
  for (const agbno of agfl) metadata.push(agbno, 1, OWNERS.ag, 0, 0)
  const merged = new Extents()
  mergeMetadata(metadata, merged)
  const isShort = !headers.agflUsable || headers.agfl.length !== headers.agf.flcount
  return {
    blocks: blocksOf(length, merged, files),
    agfl,
    twice,
    owned,
    agflWrong: isShort || twice.length > 0 || owned.length > 0,
  }
}

/** Report wrong blocks of an AGFL. */
export function explainAgfl(agno: number, { blocks, twice, owned }: AgflClaim, findings: Findings): void {
  for (const agbno of twice) findings.add('agfl.twice', { agno, agbno })
  for (const agbno of owned) {
    const user = userOf(blocks, agbno)
    if (user) findings.add('agfl.owned', { agno, agbno, owner: userName(blocks, user) })
  }
}

function userOf(blocks: Blocks, agbno: number): UsageRange | undefined {
  for (const piece of usage(blocks, agbno, agbno + 1)) return piece.use === 'free' ? undefined : piece
  return undefined
}
