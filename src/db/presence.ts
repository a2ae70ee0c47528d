/** Tells live processes from dead ones by a lock that the OS or the server drops when its holder dies. */
export interface Presence {
  /** Registers this process under a unique name. */
  register(name: string): Promise<void>;
  /** Resolves with the names whose process is dead. */
  deadAmong(names: string[]): Promise<string[]>;
}
