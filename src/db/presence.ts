/** Says which processes are alive, by something that ends with its holder, however that ends. */
export interface Presence {
  /** Makes this process known under a name that nobody else has. */
  announce(name: string): Promise<void>;
  /** Those of these names whose process is dead. */
  deadAmong(names: string[]): Promise<string[]>;
}
