/**
 * Feature bits and their names (those of mkfs.xfs and xfs_db). If the superblock has an unknown
 * bit, the image is refused (incompat), opened read-only (ro_compat) or opened normally (compat).
 */

export type FeatureWord =
  | 'versionnum'
  | 'features2'
  | 'features_ro_compat'
  | 'features_incompat'
  | 'features_log_incompat'

export const featureBits = {
  attr: { word: 'versionnum', bit: 0x0010 },
  nlink: { word: 'versionnum', bit: 0x0020 },
  quota: { word: 'versionnum', bit: 0x0040 },
  align: { word: 'versionnum', bit: 0x0080 },
  dalign: { word: 'versionnum', bit: 0x0100 },
  logv2: { word: 'versionnum', bit: 0x0400 },
  sector: { word: 'versionnum', bit: 0x0800 },
  extflg: { word: 'versionnum', bit: 0x1000 },
  dirv2: { word: 'versionnum', bit: 0x2000 },
  asciici: { word: 'versionnum', bit: 0x4000 },
  morebits: { word: 'versionnum', bit: 0x8000 },
  lazysbcount: { word: 'features2', bit: 0x02 },
  attr2: { word: 'features2', bit: 0x08 },
  projid32: { word: 'features2', bit: 0x80 },
  crc: { word: 'features2', bit: 0x100 },
  ftype2: { word: 'features2', bit: 0x200 },
  finobt: { word: 'features_ro_compat', bit: 1 << 0 },
  rmapbt: { word: 'features_ro_compat', bit: 1 << 1 },
  reflink: { word: 'features_ro_compat', bit: 1 << 2 },
  inobtcount: { word: 'features_ro_compat', bit: 1 << 3 },
  ftype: { word: 'features_incompat', bit: 1 << 0 },
  sparse: { word: 'features_incompat', bit: 1 << 1 },
  metauuid: { word: 'features_incompat', bit: 1 << 2 },
  bigtime: { word: 'features_incompat', bit: 1 << 3 },
  needsrepair: { word: 'features_incompat', bit: 1 << 4 },
  nrext64: { word: 'features_incompat', bit: 1 << 5 },
  exchange: { word: 'features_incompat', bit: 1 << 6 },
  parent: { word: 'features_incompat', bit: 1 << 7 },
  metadir: { word: 'features_incompat', bit: 1 << 8 },
  zoned: { word: 'features_incompat', bit: 1 << 9 },
  zonegaps: { word: 'features_incompat', bit: 1 << 10 },
  logxattrs: { word: 'features_log_incompat', bit: 1 << 0 },
} as const satisfies Record<string, { word: FeatureWord; bit: number }>

export type Feature = keyof typeof featureBits

/** The feature words of a superblock, with the names used above. */
export type FeatureWords = Readonly<Record<FeatureWord, number>>

export interface Features {
  /** 4 or 5 */
  readonly version: number
  has(feature: Feature): boolean
  readonly names: readonly Feature[]
  /** Unknown bits, by word. */
  readonly unknown: Readonly<Record<FeatureWord, number>>
}

/** The features in `words`. `ftype` is also set for V4's form of it in features2. */
export function featuresOf(words: FeatureWords): Features {
  const names = new Set<Feature>()
  const known = { versionnum: 0xf, features2: 0, features_ro_compat: 0, features_incompat: 0, features_log_incompat: 0 }
  for (const [name, { word, bit }] of Object.entries(featureBits)) {
    known[word] |= bit
    if ((words[word] & bit) !== 0) names.add(name as Feature)
  }
  if (names.has('ftype2')) names.add('ftype')
  const unknown = Object.fromEntries(
    Object.entries(known).map(([word, mask]) => [word, (words[word as FeatureWord] & ~mask) >>> 0]),
  ) as Record<FeatureWord, number>
  return { version: words.versionnum & 0xf, has: (feature) => names.has(feature), names: [...names], unknown }
}
