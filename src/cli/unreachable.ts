/** What to do when nothing answers at the address of the service. */
export function unreachableRemedy({ CODEX_SANDBOX_NETWORK_DISABLED }: Record<string, string | undefined>): string {
  if (!CODEX_SANDBOX_NETWORK_DISABLED) return '`forumbus up` starts the service, FORUMBUS_URL names another.';
  return (
    'The sandbox of Codex keeps commands from the network: ask by the MCP tool instead, or set `network_access = true` ' +
    'in `[sandbox_workspace_write]` of its config.toml.'
  );
}
