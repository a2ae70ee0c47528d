/**
 * A name without the differences that people do not see: compatibility forms and composition (Unicode NFKC), case,
 * white space and invisible characters. For comparisons only.
 */
export function foldName(name: string): string {
  return name
    .normalize('NFKC')
    .replaceAll(/[\p{Default_Ignorable_Code_Point}\p{White_Space}\p{Cc}]/gu, '')
    .toUpperCase()
    .toLowerCase()
    .normalize('NFKC');
}
